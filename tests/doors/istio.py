"""What Istio makes of what `narrows snippet istio` prints: the resources checked against their schemas, and an Envoy with the filters, routes
and patches that a gateway would have. Istio itself runs in a cluster; what it does is written here after its sources, and nothing more of it."""
import copy
import re

import yaml
from cloudcoil.models.istio.networking import v1 as networking
from cloudcoil.models.istio.networking import v1alpha3
from cloudcoil.models.istio.security import v1 as security

HCM = "envoy.filters.network.http_connection_manager"
EXT_AUTHZ = "envoy.filters.http.ext_authz"
TYPES = "type.googleapis.com/envoy.extensions.filters"
SCHEMAS = {
    ("networking.istio.io/v1", "ServiceEntry"): networking.ServiceEntry, ("networking.istio.io/v1", "DestinationRule"): networking.DestinationRule,
    ("networking.istio.io/v1", "Gateway"): networking.Gateway, ("networking.istio.io/v1", "VirtualService"): networking.VirtualService,
    ("security.istio.io/v1", "AuthorizationPolicy"): security.AuthorizationPolicy,
    ("networking.istio.io/v1alpha3", "EnvoyFilter"): v1alpha3.EnvoyFilter,
}
# MeshConfig has no schema of its own: these are the members that are used, and what each must be.
PROVIDER = {"service": str, "port": int, "timeout": str, "failOpen": bool, "statusOnError": str}


def read(printed):
    """MeshConfig, which is printed as a comment, and the resources."""
    comment = [line[2:] for line in printed.splitlines() if line.startswith("#   ")]
    return yaml.safe_load("\n".join(comment))["meshConfig"], [each for each in yaml.safe_load_all(printed) if each]


def misfits(printed):
    """What the schemas do not know or do not take; a member that is not known would be dropped without a word."""
    mesh, resources = read(printed)
    for each in resources:
        schema = SCHEMAS[each["apiVersion"], each["kind"]]
        try:
            known = schema.model_validate(each).model_dump(by_alias=True, exclude_unset=True, mode="json")
        except ValueError as wrong:
            yield f"{each['kind']}: {wrong}"
            continue
        yield from lost(each, known, each["kind"])
    if set(mesh) != {"pathNormalization", "extensionProviders"} or mesh["pathNormalization"] != {"normalization": "NONE"}:
        yield f"MeshConfig: {mesh}"
    for provider in mesh["extensionProviders"]:
        told = provider.get("envoyExtAuthzGrpc", {})
        if set(provider) != {"name", "envoyExtAuthzGrpc"} or {name: type(value) for name, value in told.items()} != PROVIDER:
            yield f"extensionProviders: {provider}"


def lost(written, known, where):
    if isinstance(written, dict) and isinstance(known, dict):
        for name, value in written.items():
            yield from lost(value, known[name], f"{where}.{name}") if name in known else [f"{where}.{name} is not known"]
    elif isinstance(written, list) and isinstance(known, list) and len(written) == len(known):
        for at, (one, other) in enumerate(zip(written, known)):
            yield from lost(one, other, f"{where}[{at}]")
    elif written != known:
        yield f"{where}: {written!r} became {known!r}"


def envoy(printed, port):
    """The bootstrap of a gateway that listens on `port`."""
    mesh, resources = read(printed)

    def of(kind):
        return [each["spec"] for each in resources if each["kind"] == kind]
    [policy], [patches] = of("AuthorizationPolicy"), [each["configPatches"] for each in of("EnvoyFilter")]
    [provider] = [each["envoyExtAuthzGrpc"] for each in mesh["extensionProviders"] if each["name"] == policy["provider"]["name"]]
    assert policy["action"] == "CUSTOM" and policy["rules"] == [{}], policy
    hosts = [
        {"name": f"{spec['hosts'][0]}:{port}", "domains": [name for host in spec["hosts"] for name in (host, f"{host}:*")],
         "routes": [route(each) for each in spec["http"]]}
        for spec in of("VirtualService")]
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "gateway",
        # As the gateway has it without the patches; these must make the difference.
        "use_remote_address": True, "normalize_path": False, "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        # So it is at every gateway: the routes must say that they take no WebSocket.
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"name": f"http.{port}", "virtual_hosts": hosts},
        "http_filters": [
            # The policy's rules are matched by this filter alone, and what matched is what the next one is for.
            {"name": "envoy.filters.http.rbac", "typed_config": {
                "@type": f"{TYPES}.http.rbac.v3.RBAC", "shadow_rules_stat_prefix": "istio_ext_authz_",
                "shadow_rules": {"action": "DENY", "policies": {"istio-ext-authz-ns[istio-system]-policy": {
                    "permissions": [{"any": True}], "principals": [{"any": True}]}}}}},
            {"name": EXT_AUTHZ, "typed_config": {
                "@type": f"{TYPES}.http.ext_authz.v3.ExtAuthz", "transport_api_version": "V3", "include_peer_certificate": True,
                "failure_mode_allow": provider["failOpen"], "status_on_error": {"code": int(provider["statusOnError"])},
                "grpc_service": {"timeout": provider["timeout"], "envoy_grpc": {
                    "cluster_name": cluster_of(provider["service"], provider["port"]), "authority": "narrows"}},
                "filter_enabled_metadata": {
                    "filter": "envoy.filters.http.rbac", "path": [{"key": "istio_ext_authz_shadow_effective_policy_id"}],
                    "value": {"string_match": {"prefix": "istio-ext-authz"}}}}},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"}},
        ],
    }
    for patch in patches:
        apply(patch, manager)
    tls = {spec["host"]: spec["trafficPolicy"]["tls"] for spec in of("DestinationRule")}
    return {"static_resources": {
        "listeners": [{"name": "gateway", "address": address("127.0.0.1", port),
                       "filter_chains": [{"filters": [{"name": HCM, "typed_config": manager}]}]}],
        "clusters": [cluster(spec, tls.get(spec["hosts"][0])) for spec in of("ServiceEntry")]}}


def filter_of(bootstrap):
    """The settings of `ext_authz`."""
    [chain] = bootstrap["static_resources"]["listeners"][0]["filter_chains"]
    return next(each["typed_config"] for each in chain["filters"][0]["typed_config"]["http_filters"] if each["name"] == EXT_AUTHZ)


def address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


def cluster_of(host, port):
    return f"outbound|{port}||{host}"


def cluster(spec, tls):
    [host], [port], [endpoint] = spec["hosts"], spec["ports"], spec["endpoints"]
    made = {"name": cluster_of(host, port["number"]), "connect_timeout": "10s", "type": {"STATIC": "STATIC", "DNS": "STRICT_DNS"}[spec["resolution"]],
            "load_assignment": {"cluster_name": host, "endpoints": [{"lb_endpoints": [{"endpoint": {
                "address": address(endpoint["address"], port["number"])}}]}]}}
    if port["protocol"] == "GRPC":
        made["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}}
    if tls:
        made["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": by_tls(tls)}
    return made


def by_tls(tls):
    """Whom an upstream has to prove to be, and what is shown to it."""
    assert set(tls) - {"clientCertificate", "privateKey"} == {"mode", "sni", "subjectAltNames", "caCertificates"}, tls
    assert ("clientCertificate" in tls, "privateKey" in tls) == ((tls["mode"] == "MUTUAL"),) * 2, tls
    common = {"validation_context": {
        "trusted_ca": {"filename": tls["caCertificates"]},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": name}} for name in tls["subjectAltNames"]]}}
    if tls["mode"] == "MUTUAL":
        common["tls_certificates"] = [{"certificate_chain": {"filename": tls["clientCertificate"]}, "private_key": {"filename": tls["privateKey"]}}]
    return {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": tls["sni"],
            "common_tls_context": common}


def route(http):
    [match] = http.get("match", [{}])
    [only] = http["route"]
    assert set(match) <= {"method", "uri", "headers"} and http["retries"] == {"attempts": 0}, http
    matched = {"safe_regex": {"regex": match["uri"]["regex"]}} if "uri" in match else {"prefix": "/"}
    headers = [{"name": name, "string_match": {"safe_regex": {"regex": value["regex"]}}} for name, value in match.get("headers", {}).items()]
    headers += [{"name": ":method", "string_match": {"exact": match["method"]["exact"]}}] if "method" in match else []
    made = {"name": http["name"], "match": {**matched, **({"headers": headers} if headers else {})},
            "route": {"cluster": cluster_of(only["destination"]["host"], only["destination"]["port"]["number"]), "timeout": "0s"}}
    if "headers" in http:
        made["request_headers_to_remove"] = http["headers"]["request"]["remove"]
    return made


def apply(patch, manager):
    """One patch, on the one kind of thing that it names."""
    value, match = copy.deepcopy(patch["patch"]["value"]), patch["match"]
    assert patch["patch"]["operation"] == "MERGE" and match["context"] == "GATEWAY", patch
    if patch["applyTo"] == "HTTP_ROUTE":
        name = match["routeConfiguration"]["vhost"]["route"]["name"]
        named = [each for host in manager["route_config"]["virtual_hosts"] for each in host["routes"] if each["name"] == name]
        assert named, f"no route is named {name}"
        for each in named:
            merge(each, value)
        return
    filtered = match["listener"]["filterChain"]["filter"]
    assert filtered["name"] == HCM, patch
    if patch["applyTo"] == "NETWORK_FILTER":
        merge(manager, value["typed_config"])
    else:
        assert patch["applyTo"] == "HTTP_FILTER", patch
        [named] = [each for each in manager["http_filters"] if each["name"] == filtered["subFilter"]["name"]]
        merge(named, value)


def merge(into, value):
    """As messages of Protocol Buffers are merged: members join, lists are put behind one another, and a false or a zero says nothing."""
    for name, more in value.items():
        if isinstance(more, dict) and isinstance(into.get(name), dict):
            merge(into[name], more)
        elif isinstance(more, list) and isinstance(into.get(name), list):
            into[name] += more
        elif more not in (False, 0, "") or name not in into:
            into[name] = more


def door_replaced(printed, was, now):
    """The same with another port for the boundary's door."""
    changed = re.sub(rf"(port: |number: ){was}\b", rf"\g<1>{now}", printed)
    assert changed != printed
    return changed
