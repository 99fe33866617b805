# Service `<<service>>`, checked by its own backend: a middleware for FastAPI, Starlette and every other ASGI application.
# Printed by `narrows snippet fastapi`; print it again when services, routes, detail types or audiences change. Python 3.10 or newer,
# and `pip install joserfc==1.8.0`:
#
#     from narrows_guard import Caller, Narrows
#     app.add_middleware(Narrows)                      # the last one that is added, so that it runs first
#     request.state.narrows                            # a Caller, or None on a public route
#
# A request goes on if it shows, once and in `Authorization: Bearer` alone, a token of this installation for <<audience>>
# that holds now, allows this very request, and no more than excess = "<<excess>>" lets it. Whatever is not allowed here is refused.
#
# What a guard does (`[[guards]]`, or the crate narrows-guard) and this does not:
# - It hears of no revocation: a token is good until it ends, at most <<max_lifetime>> s after it was issued.
# - It cannot ask whether a token was used: one for a single use is refused.
# - It honours no exception, which may be withdrawn meanwhile: what one lifts is refused like everything else.
# - It takes no proof of a key: a token with `cnf`, and the scheme DPoP, are refused. So are opaque tokens.
# - Nothing is on record at the broker, neither refusals nor use, and a token that is shown from two places is not noticed.
# - A response goes on when its token ends meanwhile. WebSockets are refused.
# - It looks into no body that the route does not read, but forms (`application/x-www-form-urlencoded`): in JSON that goes by, or in
#   `multipart/form-data`, a token or a `_method` goes on. Forms on public routes may have 64 KiB.
# - What a proxy says of addresses and certificates, in `X-Forwarded-For`, `Client-Cert` and the like, stays, whoever sent it: believe
#   it only if that proxy alone reaches this program. What says who asks (`Remote-User`, `X-Forwarded-User`) is refused.
# - `mode = "observe"` means nothing here: everything is enforced, from the first request on.
import asyncio
import base64
import json
import math
import re
import time
import urllib.parse
import urllib.request
import warnings
from dataclasses import dataclass

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import import_key

warnings.filterwarnings("ignore", "EdDSA", SecurityWarning)  # a newer name of it (RFC 9864) is no reason for a warning


class Refused(Exception):
    """A request that does not go on, by its reason."""

    def __init__(self, reason, *parameters):
        super().__init__(reason)
        self.reason, self.parameters = reason, parameters


@dataclass(frozen=True)
class Caller:
    """Who asks, as the token says it, and what for."""

    subject: str
    subject_id: tuple  # the outside pair: issuer, and subject there
    client: str
    actors: list  # pairs of issuer and subject, who acts now first
    task: str | None
    details: list  # as RFC 9396 JSON
    scopes: list
    route: str
    claims: dict


# --- JSON: no member twice, no deeper than said, no text that is none.

def read_json(data, depth):
    def members(pairs):
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a member is named twice")
        return found

    def constant(_):
        raise ValueError("no JSON")

    def number(text):
        if math.isinf(float(text)):
            raise ValueError("out of range")
        return int(text) if re.fullmatch("0|-?[1-9][0-9]*", text) else float(text)

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=members, parse_constant=constant, parse_int=number, parse_float=number)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return within(value, depth)


def within(value, depth):
    if isinstance(value, str):
        value.encode("utf-8")  # half a character of UTF-16 is none
    elif isinstance(value, (dict, list)):
        if depth == 0:
            raise ValueError("nested too deep")
        for each in value:
            within(each, depth - 1)
        for each in value.values() if isinstance(value, dict) else ():
            within(each, depth - 1)
    return value


def is_integer(value):
    return type(value) is int


def same(left, right):
    return type(left) is type(right) and left == right


RULES = read_json(rb'''
<<rules>>
''', 32)
LARGEST = 2**53 - 1
KNOWN = {"identifier", "type", "actions", "locations"}
BLANK = "\x00- \x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


# --- The request: one path, one host, one credential, to every reader.

class Call:
    def __init__(self, scope):
        """Of an application below a `root_path` it is the path that this one looks for; one that is mounted in another sees it whole."""
        self.headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        self.method = scope["method"]
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        self.target = f"{path}?{query}"
        self.query = query
        if len(self.method) > 32 or len(self.target) > 16384 or not re.fullmatch("[!-~]*", self.target) or "#" in self.target:
            raise Refused("malformed_request")
        hosts = self.all("host")
        host = re.fullmatch(r"([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", hosts[0].lower()) if len(hosts) == 1 else None
        if not host or len(host[1]) > 255 or int(host[2] or 0) > 65535:
            raise Refused("malformed_request")
        self.host = host[1]
        named = {name.strip(" \t").lower() for line in self.all("connection") for name in line.split(",")}
        if any(is_forged(name) for name, _ in self.headers) or any(is_kept(name) for name in named):
            raise Refused("malformed_request")
        self.segments, root = segments(path), scope.get("app_root_path", scope.get("root_path", "")).split("/")
        root = [each for each in root if each]
        if root and self.segments[: len(root)] == root:
            self.segments = self.segments[len(root) :] or [""]
        types = self.all("content-type")
        self.is_form = any("x-www-form-urlencoded" in each.lower() for each in types)
        self.is_coded = bool(self.all("content-encoding"))
        says = lambda *words: any(word in each.lower() for each in types for word in words)
        other_letters = says("charset") and not says("utf-8", "us-ascii", "iso-8859-1", "windows-1252")
        self.is_hidden = self.is_form and (self.is_coded or says("multipart/") or other_letters)  # nobody can look into it
        json_type = r'[ \t]*application/json[ \t]*(;[ \t]*(charset=utf-8|charset="utf-8")?[ \t]*)?'
        self.is_json = len(types) == 1 and bool(re.fullmatch(json_type, types[0].lower()))

    def all(self, name):
        return [value for each, value in self.headers if each == name]


def spelt(name):
    return re.sub("[^a-z0-9]", "-", name).strip("-")


def is_forged(name):
    """Whether a header, in any spelling, says who asks, as a guard alone may, or another method or path."""
    return bool(re.fullmatch(RULES["forged"], spelt(name))) or (spelt(name) in ("authorization", "dpop") and spelt(name) != name)


def is_kept(name):
    """Whether `Connection` may not name a header, since it is decided on, or a proxy's."""
    return is_forged(name) or bool(re.fullmatch(RULES["decided_on"], name) or re.fullmatch(RULES["of_proxies"], spelt(name)))


def decode(text):
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        raise Refused("malformed_request")
    try:
        decoded = urllib.parse.unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("malformed_request") from None
    if CONTROL.search(decoded):
        raise Refused("malformed_request")
    return decoded


def has_blank_end(value):
    """Whether a text, or any in a value of JSON, begins or ends with what some reader drops."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        return any(map(has_blank_end, value))
    return isinstance(value, str) and bool(re.search(f"^[{BLANK}]|[{BLANK}]$", value))


def segments(path):
    """The segments of a path that no other reader would take for another one."""
    if not path.startswith("/"):
        raise Refused("malformed_request")
    found, raw = [], path[1:].split("/")
    for at, text in enumerate(raw):
        each = decode(text)
        if (not text and at + 1 < len(raw)) or each in (".", "..") or has_blank_end(each):
            raise Refused("malformed_request")
        if re.search(r"[/\\;?#]|%[0-9A-Fa-f]{2}", each) or each.count(".") != text.count("."):
            raise Refused("malformed_request")
        found.append(each)
    return found


def find(call):
    """The route of a request, and what its path names; the routes stand in the order in which they are tried."""
    parent = "*." + call.host.partition(".")[2]
    if call.host not in RULES["hosts"] and parent not in RULES["hosts"]:
        raise Refused("no_route")
    for route in RULES["routes"]:
        values = captured(route["path"], call.segments) if route["method"] == call.method else None
        if values is not None:
            if any(resembles(RULES["routes"][at]["path"], call.segments) for at in route["unlike"]):
                raise Refused("malformed_request")
            return route, values
    raise Refused("no_route")


def resembles(pieces, found):
    """Whether a less strict reader takes a path for a route's: one to whom case, a slash at the end and an extension are of no account."""
    pieces, found = bare(pieces), bare(found)
    for at, piece in enumerate(pieces):
        if at == len(found):
            return False
        if isinstance(piece, dict) and "rest" in piece:
            return True
        whole = found[at]
        stems = {whole, whole.partition(".")[0], whole.rpartition(".")[0]} if at + 1 == len(found) else {whole}
        if isinstance(piece, str) and one_case(piece) not in map(one_case, stems):
            return False
    return len(pieces) == len(found)


def bare(segments):
    return segments[:-1] if segments and segments[-1] == "" else segments


def one_case(text):
    return text.translate({0x130: "i", 0x131: "i", 0x17F: "s", 0x212A: "k"}).lower()


def captured(pieces, found):
    values = {}
    for at, piece in enumerate(pieces):
        if at >= len(found) or (isinstance(piece, str) and piece != found[at]) or (isinstance(piece, dict) and not found[at]):
            return None
        if isinstance(piece, dict) and "rest" in piece:
            return {**values, piece["rest"]: "/".join(found[at:])}
        if isinstance(piece, dict):
            values[piece["one"]] = found[at]
    return values if len(pieces) == len(found) else None


def credential(call):
    """The token, and whether it is shown as DPoP; None where nothing is shown."""
    if any(map(is_token, names(call.query.encode()))):
        raise Refused("malformed_request")
    lines = call.all("authorization")
    if not lines:
        return None
    scheme, space, token = lines[0].partition(" ")
    if len(lines) > 1 or "," in lines[0] or not space or scheme.lower() not in ("bearer", "dpop"):
        raise Refused("malformed_request")
    if len(token) > 16384 or not re.fullmatch("[A-Za-z0-9._~+/-]+=*", token):
        raise Refused("malformed_request")
    refuse_repeated(token, [call.target, *(value for name, value in call.headers if name != "authorization")])
    return token, scheme.lower() == "dpop"


def refuse_repeated(token, texts):
    """What is signed stands nowhere else, since one signature may have two spellings, nor does the signature, by which the token may be
    known: neither as they are nor decoded once."""
    signed, _, signature = token.rpartition(".")
    words = [word for word in (signed if "." in signed else "", signature) if len(word) >= 20]
    for text in texts:
        if any(word in text or word in urllib.parse.unquote(text, "latin-1") for word in words):
            raise Refused("malformed_request")


def look_into(call, body, token):
    """A body that was read holds no token, and no other method where it is a form; one in a coding could hold anything."""
    if call.is_form and body and (call.is_hidden or any(is_token(name) or is_method(name) for name in names(body))):
        raise Refused("malformed_request")
    if token:
        refuse_repeated(token, [body.decode("latin-1")])


def names(pairs):
    """The names in a query or form, as the most lenient reader finds them."""
    for pair in re.split(b"[&;]", pairs):
        yield urllib.parse.unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" ")).decode("utf-8", "replace").strip()


def stem(name):
    return re.split("[][\0]", name.lstrip("["))[0]


def is_token(name):
    name = re.sub("[ .]", "_", name.lower())
    return "access_token" in (stem(name), name.replace("[", "_"))


def is_method(name):
    """Whether somebody may take this for `_method` or `X-HTTP-Method-Override`, and so for the method of the request."""
    return any(re.fullmatch(r"[\W_]method|x[\W_]http[\W_]method[\W_]overr(?-i:[iI])de", each, re.IGNORECASE) for each in (name, stem(name)))


# --- The token: who signed it, and what it says.

class Keys:
    """The broker's keys, fetched when they are needed: again after five minutes, and for a key that is not known, at most twice a
    minute. Without the broker they serve for an hour. No redirect is followed and no proxy is asked."""

    def __init__(self, url):
        class NoRedirect(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None

        self.url, self.keys, self.fetched, self.tried = url, None, 0.0, 0.0
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
        self.one_at_a_time = asyncio.Lock()

    def fetch(self):
        data, ends = b"", time.monotonic() + 5
        with self.opener.open(self.url, timeout=5) as reply:
            while chunk := reply.read1(65536):
                data += chunk
                if len(data) > 262144 or time.monotonic() > ends:
                    raise ValueError("no key set")
        if reply.status != 200:
            raise ValueError("no key set")
        return key_set(read_json(data, 16))

    async def refresh(self, again_after):
        if self.keys is not None and self.one_at_a_time.locked():
            return  # nobody waits for a fetch who can do without
        async with self.one_at_a_time:
            if self.tried and time.monotonic() - self.tried < again_after:
                return
            self.tried = time.monotonic()
            try:
                self.keys = await asyncio.wait_for(asyncio.to_thread(self.fetch), 10)
                self.fetched = time.monotonic()
            except Exception:  # what was good stays good for a while
                pass

    async def find(self, kid, algorithm):
        if self.keys is None or time.monotonic() - self.fetched > 300:
            await self.refresh(2 if self.keys is None else 30)
        if kid is not None and all(each[0] != kid for each in self.keys or ()):
            await self.refresh(30)
        if self.keys is None or time.monotonic() - self.fetched > 3600:
            raise Refused("issuer_unavailable")
        fitting = [key for name, known, key in self.keys if known == algorithm and (kid is None or name == kid)]
        if len(fitting) != 1:
            raise Refused("subject_token_invalid")
        return fitting[0]


def key_set(members):
    """The keys of a set that are good for signatures, each for one algorithm: (kid, alg, key)."""
    listed = members.get("keys") if isinstance(members, dict) else None
    if not isinstance(listed, list) or any(isinstance(each, dict) and each.get("kty") == "oct" for each in listed):
        raise ValueError("no key set")
    usable = [found for each in listed[:100] if (found := usable_key(each))]
    names = [kid for kid, _, _ in usable if kid is not None]
    if not usable or len(set(names)) != len(names):
        raise ValueError("no usable key, or two of one name")
    return usable


def usable_key(jwk):
    if not isinstance(jwk, dict) or "d" in jwk or jwk.get("use", "sig") != "sig":
        return None
    operations, kid = jwk.get("key_ops", ["verify"]), jwk.get("kid")
    natural = {("EC", "P-256"): ["ES256"], ("OKP", "Ed25519"): ["EdDSA"], ("RSA", None): ["RS256", "PS256"]}
    natural = natural.get((jwk.get("kty"), jwk.get("crv")), [])
    algorithm = "EdDSA" if jwk.get("alg") == "Ed25519" else jwk.get("alg", natural[0] if len(natural) == 1 else None)
    if not isinstance(operations, list) or "verify" not in operations or ("kid" in jwk and not isinstance(kid, str)):
        return None
    if algorithm not in natural or algorithm not in RULES["algorithms"]:
        return None
    try:
        numbers = {name: decode64(jwk[name]) for name in ("n", "e", "x", "y") if name in jwk}
        if jwk["kty"] == "RSA" and not (256 <= len(numbers["n"]) <= 1024 and int.from_bytes(numbers["e"], "big") >= 65537):
            return None
        return kid, algorithm, import_key({name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk})
    except Exception:
        return None


def decode64(text):
    """base64url as it is written by everybody: no padding, unused bits zero."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise ValueError("not canonical")
    return data


async def authentic(token, keys):
    """The claims of an access token that the broker signed."""
    try:
        head, payload, signature = (decode64(part) for part in token.split("."))
        header, claims = read_json(head, 64), read_json(payload, 64)
        if not signature or not isinstance(header, dict) or not isinstance(claims, dict):
            raise ValueError("not a signed token")
    except ValueError:
        raise Refused("subject_token_invalid") from None
    algorithm, kid, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if header.keys() & {"crit", "jku", "x5u", "jwk", "zip", "b64"} or algorithm not in RULES["algorithms"] or not isinstance(typ, str):
        raise Refused("subject_token_invalid")
    if "kid" in header and (not isinstance(kid, str) or len(kid.encode()) > 512):
        raise Refused("subject_token_invalid")
    if typ.lower().removeprefix("application/") != "at+jwt" or not same(claims.get("iss"), RULES["issuer"]):
        raise Refused("subject_token_invalid")
    key, registry = await keys.find(kid, algorithm), jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = registry.max_signature_length = 16384
    try:
        jws.deserialize_compact(token, key, registry=registry)
    except Exception:
        raise Refused("subject_token_invalid") from None
    return claims


def says(claims):
    """What the token says, every claim of its own type: a malformed one is never an absent one."""
    def fail():
        raise Refused("subject_token_invalid")

    def text(name, required=False):
        value = claims.get(name)
        if (name in claims and not isinstance(value, str)) or (required and not value):
            fail()
        return value

    def date(name, required=False):
        value = claims.get(name)
        if (name in claims or required) and not (is_integer(value) and 0 <= value <= LARGEST):
            fail()
        return value

    try:
        within(claims, RULES["max_chain"] + 8)
        details = detail_list(claims["authorization_details"]) if "authorization_details" in claims else []
        if "exception" in claims:
            well_formed(claims["exception"])
    except ValueError:
        fail()
    for name in ("sub", "jti", "client_id", "txn"):
        text(name, required=True)
    for name in ("task", "approval", "acr", "scope"):
        text(name)
    for name in ("iat", "exp"):
        date(name, required=True)
    for name in ("nbf", "auth_time"):
        date(name)
    scopes = claims["scope"].split(" ") if "scope" in claims else []
    if not all(re.fullmatch(r"[!#-\[\]-~]{1,255}", scope) for scope in scopes) or not re.fullmatch("[!-~]{1,255}", claims["client_id"]):
        fail()
    audiences = claims.get("aud")
    audiences = [audiences] if isinstance(audiences, str) else audiences
    if not isinstance(audiences, list) or not audiences or not all(isinstance(each, str) and each for each in audiences):
        fail()
    pair, chain = claims.get("sub_id"), claims.get("chain", [])
    pair = (pair.get("iss"), pair.get("sub")) if isinstance(pair, dict) else (None, None)
    if not all(isinstance(each, str) and each for each in pair) or not re.fullmatch("[^\x00-\x1f\x7f]{1,255}", pair[1], re.DOTALL):
        fail()
    if not isinstance(chain, list) or not all(isinstance(each, str) for each in chain) or not isinstance(claims.get("onward", []), list):
        fail()
    if type(claims.get("single_use", False)) is not bool:
        fail()
    actors, level = [], claims.get("act")
    while "act" in claims and (not actors or level is not None):
        if not isinstance(level, dict) or not level.keys() <= {"iss", "sub", "act"} or len(actors) == RULES["max_chain"]:
            fail()
        if not all(isinstance(level.get(name), str) and level[name] for name in ("iss", "sub")):
            fail()
        actors.append((level["iss"], level["sub"]))
        if "act" in level and level["act"] is None:
            fail()
        level = level.get("act")
    return details, sorted(set(scopes)), audiences, pair, actors


def well_formed(exception):
    """An exception lifts nothing here, and is still what it ought to be; ValueError for one that is not."""
    if not isinstance(exception, dict) or not exception.keys() <= {"id", "authorization_details", "max_lifetime"}:
        raise ValueError("no exception")
    name, life = exception.get("id"), exception.get("max_lifetime", 1)
    if not isinstance(name, str) or not name or not is_integer(life) or not 0 < life <= LARGEST:
        raise ValueError("no exception")
    detail_list(exception.get("authorization_details", []), is_ceiling=True)


def holds(claims, audiences, is_dpop, now):
    """That it is for this service, now, and for whoever bears it; `now` in milliseconds."""
    if audiences != [RULES["audience"]]:
        raise Refused("subject_token_not_for_client")
    exp, iat, nbf = claims["exp"], claims["iat"], claims.get("nbf", 0)
    if exp <= iat or ("nbf" in claims and nbf >= exp) or iat * 1000 > now or nbf * 1000 > now:
        raise Refused("subject_token_invalid")
    if exp * 1000 - now < 1000:
        raise Refused("subject_token_expired")
    if exp - iat > RULES["max_lifetime"]:
        raise Refused("subject_token_invalid")
    if "cnf" in claims:
        bound = claims["cnf"]
        raise Refused("invalid_dpop_proof" if isinstance(bound, dict) and isinstance(bound.get("jkt"), str) else "subject_token_invalid")
    if is_dpop:
        raise Refused("invalid_dpop_proof")


# --- Details, and their order.

def is_distinct(items):
    return bool(items) and all(isinstance(item, str) and item for item in items) and len(set(items)) == len(items)


def constraint(order, value):
    """A value of a constraint as it is compared; ValueError for one that it cannot have."""
    good = {
        "equal": lambda: type(value) is bool or (is_integer(value) and abs(value) <= LARGEST) or (isinstance(value, str) and value),
        "at_most": lambda: is_integer(value) and 0 <= value <= LARGEST,
        "prefix": lambda: isinstance(value, str) and not re.search(r"[%\\\x00-\x1f\x7f-\x9f]", value)
        and not {"", ".", ".."} & set(value.removeprefix("/").split("/")),
        "subset": lambda: isinstance(value, list) and is_distinct(value),
        "one_of": lambda: (isinstance(value, str) and value) or (isinstance(value, list) and is_distinct(value)),
    }
    if not good[order]():
        raise ValueError("not a value of this constraint")
    return [value] if order == "one_of" and isinstance(value, str) else value


def detail(value, is_ceiling=False):
    """One detail of a declared type; ValueError for anything else. A ceiling without an identifier stands for every resource."""
    declared = RULES["types"].get(value["type"]) if isinstance(value, dict) and isinstance(value.get("type"), str) else None
    actions = value.get("actions") if declared else None
    if not isinstance(actions, list) or not is_distinct(actions) or len(actions) > 32:
        raise ValueError("no detail of a declared type")
    orders, identifier, locations, bounded = declared["constraints"], value.get("identifier"), value.get("locations"), set()
    unfit = "none" if "identifier" in value else None if is_ceiling else "required"
    for action in actions:
        rule = declared["actions"].get(action)
        if rule is None or rule["identifier"] == unfit:
            raise ValueError("no such action, or not with this identifier")
        bounded.update(rule["constraints"])
    if ("identifier" in value and not isinstance(identifier, str)) or ("locations" in value and not isinstance(locations, list)):
        raise ValueError("of the wrong type")
    for each in [*([identifier] if "identifier" in value else []), *(locations or [])]:
        if not isinstance(each, str) or not each or len(each.encode()) > 1024 or CONTROL.search(each):
            raise ValueError("no identifier or location")
    if "locations" in value and not is_distinct(locations):
        raise ValueError("locations")
    names = value.keys() - KNOWN
    if not names <= orders.keys() or not names <= bounded:
        raise ValueError("no such member")
    constraints = {name: constraint(orders[name], value[name]) for name in names}
    return {"type": value["type"], "actions": actions, "identifier": identifier, "locations": locations, "constraints": constraints}


def detail_list(value, is_ceiling=False):
    if not isinstance(value, list) or len(value) > 32:
        raise ValueError("no list of details")
    return [detail(each, is_ceiling) for each in value]


def atoms(details):
    return [(each, action) for each in details for action in each["actions"]]


def is_narrower(order, inner, outer):
    if order == "equal":
        return same(inner, outer)
    if order == "at_most":
        return inner <= outer
    if order == "prefix":
        return inner == outer or inner.startswith(outer + "/")
    return set(inner) <= set(outer)


def covers(outer, inner):
    """Whether one action of a token's detail allows one action of a needed one."""
    (held, action), (needed, wanted) = outer, inner
    if held["type"] != needed["type"] or action != wanted or held["identifier"] not in (None, needed["identifier"]):
        return False
    return not any(exceeds(needed, held, action, orders=("equal", "subset", "at_most", "prefix", "one_of")))


def exceeds(inner, outer, action, orders=("subset", "at_most", "prefix", "one_of")):
    """The constraints in which `inner` is wider than `outer`: absent is unbounded."""
    declared = RULES["types"][inner["type"]]
    for name in declared["actions"][action]["constraints"]:
        order, bound = declared["constraints"].get(name), outer["constraints"].get(name)
        value = inner["constraints"].get(name)
        if bound is not None and order in orders and (value is None or not is_narrower(order, value, bound)):
            yield name
    if outer["locations"] is not None and (inner["locations"] is None or not set(inner["locations"]) <= set(outer["locations"])):
        yield "locations"


def is_surplus(atom, needed, wider):
    """Whether an action of a token's detail is more than the mode lets it be beside one detail that is needed."""
    held, action = atom
    if held["type"] != needed["type"] or held["identifier"] != needed["identifier"]:
        return True
    declared, exact = RULES["types"][held["type"]], RULES["excess"] == "none"
    for name in declared["actions"][action]["constraints"]:
        wanted = needed["constraints"].get(name, RULES["fixed"].get(name))
        if declared["constraints"].get(name) == "equal" and not same(held["constraints"].get(name), wanted):
            return True
    if any(exact or name not in wider for name in exceeds(held, needed, action)):
        return True
    return exact and (action not in needed["actions"] or any(exceeds(needed, held, action)))


# --- What the request needs.

def folded(name):
    return name.upper().lower()


def folded_name(name):
    return re.sub("[. ]", "_", folded(name.partition("[")[0].strip()))


def refuse_another_method(call, read):
    if any(is_method(name) for name in names(call.query.encode()) if name not in read):
        raise Refused("malformed_request")


def read_query(call, reads):
    """What the route reads of the query; nothing may come along that another reader takes for it."""
    found = {}
    for pair in call.query.split("&") if reads["query"] and call.query else []:
        raw, _, value = pair.partition("=")
        if ";" in pair or "+" in raw:
            raise Refused("malformed_request")
        name, decoded = decode(raw), decode(value)
        if name not in reads["query"]:
            listed = reads["query_pass"] or name in reads["query_only"]
            if not listed or folded_name(name) in map(folded_name, reads["query"]):
                raise Refused("unread_input")
        elif "+" in value or name in found:
            raise Refused("malformed_request")
        else:
            found[name] = decoded
    return found


def read_body(call, body, reads):
    if reads["body"] is None or not body:
        return None
    try:
        value = read_json(body, 8)
    except ValueError:
        value = None
    if not call.is_json or call.is_coded or not isinstance(value, dict):
        raise Refused("malformed_request")
    refuse_unread(reads["body"], value, reads["body_pass"])
    return value


def refuse_unread(shape, members, may_pass):
    for name, value in members.items():
        inner = shape["members"].get(name)
        if inner is None:
            listed = shape["whole"] or shape["names"] or may_pass
            if not listed or folded(name) in map(folded, shape["members"]):
                raise Refused("unread_input")
        elif isinstance(value, dict) and not inner["whole"]:
            refuse_unread(inner, value, may_pass)
        elif not inner["whole"] and not inner["names"]:
            raise Refused("unread_input")


class Values:
    """The values of one request, by where a template says that they stand; ValueError for one that is not there."""

    def __init__(self, call, path, query, body):
        self.host, self.path, self.query, self.body = call.host, path, query, body

    def json(self, source):
        value = self.as_said(source)
        if has_blank_end(value):
            raise Refused("malformed_request")
        return value

    def as_said(self, source):
        (kind, place), = source.items()
        if kind == "host":
            return self.host.partition(".")[0]
        if kind in ("path", "query"):
            found = (self.path if kind == "path" else self.query).get(place)
            if found is None:
                raise ValueError("missing")
            return found
        value = self.body
        for name in place:
            if not isinstance(value, dict) or name not in value:
                raise ValueError("missing")
            value = value[name]
        if kind == "keys":
            if not isinstance(value, dict) or not value:
                raise ValueError("no member names")
            return list(value)
        return value

    def text(self, pieces):
        filled = ""
        for at, piece in enumerate(pieces):
            if isinstance(piece, str):
                filled += piece
                continue
            value = self.json(piece)
            if not isinstance(value, str) or not value:
                raise ValueError("no text")
            # Of two values, the first ends where the text between them begins, and nowhere before.
            if at + 2 < len(pieces) and (value + pieces[at + 1]).index(pieces[at + 1]) != len(value):
                raise ValueError("where one value ends cannot be told")
            filled += value
        return filled

    def integer(self, source):
        value = self.json(source)
        if isinstance(value, str) and "body" not in source and re.fullmatch("0|-?[1-9][0-9]{0,15}", value, re.ASCII):
            return int(value)
        if not is_integer(value):
            raise ValueError("no integer")
        return value

    def several(self, items):
        found = []
        for item in items:
            value = self.text(item["text"]) if "text" in item else self.json(item["several"])
            found += [value] if isinstance(value, str) else value
        return list(dict.fromkeys(found))

    def detail(self, template):
        value = dict(template["fixed"])
        if "identifier" in template:
            value["identifier"] = self.text(template["identifier"])
        make = {"json": self.json, "integer": self.integer, "text": self.text, "list": self.several}
        for name, member in template["members"].items():
            (kind, what), = member.items()
            value[name] = make[kind](what)
        return detail(value)


def needed(call, route, path, body):
    """The details that the request needs, to the byte, without what is fixed."""
    refuse_another_method(call, route["reads"]["query"])
    query, members = read_query(call, route["reads"]), read_body(call, body, route["reads"])
    values = Values(call, path, query, members)
    try:
        found = [values.detail(route["detail"])] if route["detail"] else []
        for template in route["onward"]:
            values.detail(template)
    except ValueError:
        raise Refused("malformed_details") from None
    return found


def fix(details):
    """With what is fixed; a request for another value is for somebody else's resource."""
    for each in details:
        rules = RULES["types"][each["type"]]["actions"]
        for name, value in RULES["fixed"].items():
            if any(name in rules[action]["constraints"] for action in each["actions"]):
                if not same(each["constraints"].setdefault(name, value), value):
                    raise Refused("wider_than_subject")
    return details


# --- The middleware.

class Narrows:
    """Refuses what is not allowed, and tells the application who asks: `request.state.narrows`."""

    def __init__(self, app):
        self.app, self.keys = app, Keys(RULES["jwks_uri"])

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        body = Body(receive)
        try:
            try:
                caller = await self.check(scope, body)
            except Refused as refused:
                return await refuse(send, refused, body.is_broken_off)
            scope.setdefault("state", {})["narrows"] = caller
            return await self.app(scope, body.again, send)
        finally:
            Body.held -= body.size

    async def check(self, scope, body):
        # 1. One credential, in the one place for it, and a route to every reader. Nobody's body is waited for who shows no token, but a
        #    small form on a public route, which may hold one.
        call = Call(scope)
        shown = credential(call)
        route, path = find(call)
        if route["public"]:
            refuse_another_method(call, ())
            if call.is_form:
                look_into(call, await body.read(65536, 2**24), shown and shown[0])
            return None
        if shown is None:
            raise Refused("no_token")
        token, is_dpop = shown
        # 2. Signed by the broker, as an access token; and what it says holds here and now.
        claims = await authentic(token, self.keys)
        details, scopes, audiences, pair, actors = says(claims)
        now = time.time_ns() // 1_000_000
        holds(claims, audiences, is_dpop, now)
        # 3. What the request needs, to the byte. A stranger is not told what that would be.
        sent = await body.read(route["body_max"], 2**26) if call.is_form or route["reads"]["body"] is not None else b""
        look_into(call, sent, token)
        required = fix(needed(call, route, path, sent))
        # 4. The token allows that.
        held = atoms(details)
        if not all(any(covers(atom, wanted) for atom in held) for wanted in atoms(required)) or not set(route["scopes"]) <= set(scopes):
            raise Refused("wider_than_subject")
        # 5. The person signed in as the route asks (RFC 9470).
        age, acr = route["max_auth_age"], route["acr"]
        then = claims.get("auth_time", LARGEST) * 1000
        if (age is not None and not 0 <= now - then <= age * 1000) or (acr is not None and claims.get("acr") != acr):
            asked = ([f'acr_values="{acr}"'] if acr is not None else []) + ([f"max_age={age}"] if age is not None else [])
            raise Refused("insufficient_user_authentication", *asked)
        # 6. It allows no more than the mode lets it.
        if RULES["excess"] != "any":
            if set(scopes) - set(route["scopes"]):
                raise Refused("overbroad_token")
            if any(all(is_surplus(atom, each, route["wider"]) for each in required) for atom in held):
                raise Refused("overbroad_token")
        # 7. Whether it was used before nobody here can tell.
        if claims.get("single_use", False):
            raise Refused("subject_token_invalid")
        return Caller(claims["sub"], pair, claims["client_id"], actors, claims.get("task"), claims.get("authorization_details", []), scopes,
                      route["route"], claims)


class Body:
    """The body of a request, read once and handed on."""

    held = 0  # of all of them, in bytes

    def __init__(self, receive):
        self.receive, self.data, self.left, self.size, self.is_broken_off = receive, None, False, 0, False

    async def read(self, most, of_all):
        """No more than `most` bytes, and `of_all` with those of others, within ten seconds."""
        self.is_broken_off = True
        try:
            self.data = await asyncio.wait_for(self.collect(most, of_all), 10)
        except asyncio.TimeoutError:
            raise Refused("malformed_request") from None
        self.is_broken_off = False
        return self.data

    async def collect(self, most, of_all):
        chunks, more = [], True
        while more:
            message = await self.receive()
            if message["type"] != "http.request":
                raise Refused("malformed_request")
            chunk, more = message.get("body", b""), message.get("more_body", False)
            self.size += len(chunk)
            Body.held += len(chunk)
            if self.size > most:
                raise Refused("too_large")
            if Body.held > of_all:
                raise Refused("rate_limited")
            chunks.append(chunk)
        return b"".join(chunks)

    async def again(self):
        if self.data is None or self.left:
            return await self.receive()
        self.left = True
        return {"type": "http.request", "body": self.data, "more_body": False}


async def refuse(send, refused, closes):
    status, error, description = RULES["refusals"][refused.reason]
    titles = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 413: "Payload Too Large",
              429: "Too Many Requests", 503: "Service Unavailable"}
    problem = {"type": "about:blank", "title": titles[status], "status": status, "detail": description, "reason": refused.reason,
               "help": "the token says what it allows: narrows inspect"}
    headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
    if status == 401 or (status == 403 and error):
        words = [f'error="{error}"', f'error_description="{description}"'] if error else []
        headers.append((b"www-authenticate", " ".join(["Bearer", ", ".join([*words, *refused.parameters])]).strip().encode()))
    if status in (429, 503):
        headers.append((b"retry-after", b"1"))
    if closes:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(problem).encode()})
