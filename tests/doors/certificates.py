"""An authority of a network, a backend's certificate and ours: a backend of its own that only speaks to us."""
import datetime
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def network(folder):
    """Writes `ca.pem`, `own.crt` and `own.key`; what a backend at 127.0.0.1 is set up with that asks for a certificate of this authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = issued("authority", key, key, "authority", x509.BasicConstraints(ca=True, path_length=0))
    # As an address and as a name: some proxies know addresses by their text alone.
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("127.0.0.1")])
    (folder / "ca.pem").write_bytes(authority)
    for name, extensions in (("backend", [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), here]),
                             ("own", [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])])):
        own = ec.generate_private_key(ec.SECP256R1())
        (folder / f"{name}.crt").write_bytes(issued(name, own, key, "authority", *extensions))
        (folder / f"{name}.key").touch(0o600)
        (folder / f"{name}.key").write_bytes(own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "backend.crt", folder / "backend.key")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def issued(name, key, by, issuer, *extensions):
    """A certificate in PEM."""
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(subject_name=named(name), issuer_name=named(issuer), public_key=key.public_key(),
                                   serial_number=x509.random_serial_number(), not_valid_before=now - datetime.timedelta(1),
                                   not_valid_after=now + datetime.timedelta(1))
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
    for extension in extensions:
        made = made.add_extension(extension, isinstance(extension, x509.BasicConstraints))
    return made.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
