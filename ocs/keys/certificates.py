"""The certificate by which programs know a closed site's router: signed by an authority of the site's own, or given."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ocs.errors import KeysError
from ocs.keys.files import CLOSED, OPEN, read_small, write_whole
from ocs.keys.finding import AUTHORITY_FILE

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = [
    "AUTHORITY_KEY_FILE",
    "RENEW_BEFORE",
    "SERVER_FILE",
    "SERVER_KEY_FILE",
    "Certificate",
    "certify",
    "chain_files",
    "take_given",
]

AUTHORITY_KEY_FILE: Final = "ca.key"
SERVER_FILE: Final = "server.crt"
SERVER_KEY_FILE: Final = "server.key"

RENEW_BEFORE: Final = 60 * 86400.0
"""How long before its end a certificate is made anew, in s: time for a restart of the router that suits."""

_ALWAYS: Final = ("localhost", "127.0.0.1", "::1")
_AUTHORITY_HOLDS: Final = timedelta(days=20 * 365)
_SERVER_HOLDS: Final = timedelta(days=10 * 365)
"""Long, since a site that stops for a forgotten certificate is worse than one whose router's key is ten years old."""
_CLOCKS_DIFFER: Final = timedelta(days=1)
"""A machine whose clock is behind takes the certificate too."""
_MOST_BYTES: Final = 256 * 1024
_PEM_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,250}[A-Za-z0-9_])?")


@dataclass(frozen=True)
class Certificate:
    """What the router's certificate says.

    Args:
        names: host names and addresses that it is for.
        until: when it ends, unix s.
        is_own: signed by the authority in the same folder.
    """

    names: tuple[str, ...]
    until: float
    is_own: bool

    @classmethod
    def read(cls, folder: Path) -> "Certificate | None":
        """Return that of a keys folder; None where there is none.

        Raises:
            KeysError: it cannot be read, is not that of the key beside it, or its authority did not sign it.
        """
        path = folder / SERVER_FILE
        if not path.exists():
            return None
        server = _certificate(path)
        _require_pair(server, path, folder / SERVER_KEY_FILE)
        authority = folder / AUTHORITY_FILE
        own = (folder / AUTHORITY_KEY_FILE).exists()
        if own and not _is_signed_by(server, _certificate(authority)):
            raise KeysError(f"{authority} did not sign {path}: programs would not trust the router; `ocs keys init`")
        return cls(_names(server), server.not_valid_after_utc.timestamp(), own)

    def lacks(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the names that it is not for."""
        own = {_plain(name) for name in self.names}
        return tuple(name for name in names if _plain(name) not in own and f"*.{_domain(name)}" not in own)


def certify(folder: Path, names: Sequence[str], now: float) -> bool:
    """See to it that a keys folder has a certificate for the router; where none is given, of an authority of its own.

    Args:
        folder: the keys folder.
        names: host names and addresses by which programs reach the router; the loopback ones are always added.
        now: unix s.

    Returns:
        Whether it is a new one, for which the router has to be started anew.

    Raises:
        KeysError: one of the names cannot be, a file is broken, or cannot be written.
    """
    wanted = list(dict.fromkeys(_require_host(name) for name in (*names, *_ALWAYS)))
    there = _present(folder)
    if there is not None and not there.is_own:
        return False  # a given one, which is its owner's to renew
    if there is not None and there.until - now > RENEW_BEFORE:
        if not there.lacks(wanted):
            return False
        wanted = list(dict.fromkeys((*wanted, *there.names)))
    at = datetime.fromtimestamp(now, UTC)
    authority, key = _authority(folder, at)
    _write_server(folder, _signed(wanted, at, authority, key))
    return True


def _present(folder: Path) -> Certificate | None:
    """Return the certificate that is there; one of our own that is half written is none."""
    try:
        return Certificate.read(folder)
    except KeysError:
        if (folder / AUTHORITY_KEY_FILE).exists():
            return None
        raise


def take_given(folder: Path, certificate: Path, key: Path, authority: Path | None = None) -> None:
    """Put a certificate of somebody else's making into a keys folder, in place of an earlier one of that kind.

    Args:
        folder: the keys folder.
        certificate: PEM, the router's own first, then those between it and the authority.
        key: its private key, PEM without a password.
        authority: of whom programs take it, PEM; None: of one that their system knows.

    Raises:
        KeysError: they do not belong together, or the folder has an authority of its own.
    """
    if (folder / AUTHORITY_KEY_FILE).exists():
        raise KeysError(
            f"{folder} has an authority of its own; to give up what it signed, move ca.crt, ca.key, server.crt and "
            "server.key out of it first"
        )
    _require_pair(_certificate(certificate), certificate, key)
    contents = [read_small(path, _MOST_BYTES)[0] for path in (certificate, key)]
    if authority is not None:
        _certificate(authority)
        write_whole(folder / AUTHORITY_FILE, read_small(authority, _MOST_BYTES)[0], OPEN)
    else:
        (folder / AUTHORITY_FILE).unlink(missing_ok=True)
    _write_chain(folder, contents[0])
    _write_server(folder, (contents[0], contents[1]))


def chain_files(folder: Path) -> list[Path]:
    """Return the files of the certificates between the router's and the authority's, one each, in order."""
    return sorted(folder.glob("server-chain-*.crt"))


def _write_chain(folder: Path, certificates: bytes) -> None:
    """Write all but the first into files of their own: crossbar reads one from each."""
    for old in chain_files(folder):
        old.unlink()
    for number, one in enumerate(_PEM_CERTIFICATE.findall(certificates)[1:], start=1):
        write_whole(folder / f"server-chain-{number:02d}.crt", one + b"\n", OPEN)


def _write_server(folder: Path, pair: tuple[bytes, bytes]) -> None:
    write_whole(folder / SERVER_KEY_FILE, pair[1], CLOSED)
    write_whole(folder / SERVER_FILE, pair[0], OPEN)


def _authority(folder: Path, at: datetime) -> "tuple[x509.Certificate, EllipticCurvePrivateKey]":
    """Return the site's own authority, made where it is missing."""
    path, key_path = folder / AUTHORITY_FILE, folder / AUTHORITY_KEY_FILE
    if path.exists():
        known = _certificate(path)
        _require_pair(known, path, key_path)
        if known.not_valid_after_utc <= at:
            raise KeysError(
                f"{path} has ended: move it and {key_path} away, `ocs keys init`, and copy it to all machines"
            )
        return known, _private_key(key_path)
    key = _new_key()
    made = _build(key, at, _AUTHORITY_HOLDS, [], None)
    write_whole(key_path, _pem_of_key(key), CLOSED)
    write_whole(path, _pem(made), OPEN)
    return made, key


def _signed(
    names: Sequence[str], at: datetime, authority: "x509.Certificate", key: "EllipticCurvePrivateKey"
) -> tuple[bytes, bytes]:
    own = _new_key()
    return _pem(_build(own, at, _SERVER_HOLDS, names, (authority, key))), _pem_of_key(own)


def _build(
    key: "EllipticCurvePrivateKey",
    at: datetime,
    holds: timedelta,
    names: Sequence[str],
    issuer: "tuple[x509.Certificate, EllipticCurvePrivateKey] | None",
) -> "x509.Certificate":
    """Return a certificate: of an authority where there is no issuer, else of a server."""
    from cryptography import x509  # noqa: PLC0415 - for closed sites alone
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - the same

    serial = x509.random_serial_number()
    subject = _called("ocs router" if issuer else f"ocs site authority {serial % 16**8:08x}")
    certificate, signer = issuer or (None, key)
    end = at + holds if certificate is None else min(at + holds, certificate.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(certificate.subject if certificate else subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(at - _CLOCKS_DIFFER)
        .not_valid_after(end)
    )
    for extension, critical in _extensions(key, names, signer, is_authority=issuer is None):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, hashes.SHA256())


def _extensions(
    key: "EllipticCurvePrivateKey", names: Sequence[str], signer: "EllipticCurvePrivateKey", *, is_authority: bool
) -> "list[tuple[x509.ExtensionType, bool]]":
    from cryptography import x509  # noqa: PLC0415 - for closed sites alone
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415 - the same

    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), True),
        (_usage(is_authority=is_authority), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
    ]
    if not is_authority:
        found.append((x509.SubjectAlternativeName([_general_name(name) for name in names]), False))
        found.append((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False))
    return found


def _usage(*, is_authority: bool) -> "x509.KeyUsage":
    from cryptography import x509  # noqa: PLC0415 - for closed sites alone

    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _called(name: str) -> "x509.Name":
    from cryptography import x509  # noqa: PLC0415 - for closed sites alone

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _general_name(name: str) -> "x509.GeneralName":
    from cryptography import x509  # noqa: PLC0415 - for closed sites alone

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _new_key() -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - for closed sites alone

    return ec.generate_private_key(ec.SECP256R1())  # which every browser and every OpenSSL knows


def _pem(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - for closed sites alone

    return certificate.public_bytes(Encoding.PEM)


def _pem_of_key(key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - for closed sites alone

    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def _certificate(path: Path) -> "x509.Certificate":
    from cryptography import x509  # noqa: PLC0415 - for closed sites alone

    content, _ = read_small(path, _MOST_BYTES)
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError:
        raise KeysError(f"{path} is no certificate in PEM") from None


def _private_key(path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - for closed sites alone
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - the same

    content, _ = read_small(path, _MOST_BYTES)
    try:
        return load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeysError(f"{path} is no private key in PEM without a password") from None


def _require_pair(certificate: "x509.Certificate", path: Path, key_path: Path) -> None:
    if _private_key(key_path).public_key() != certificate.public_key():
        raise KeysError(f"{key_path} is not the key of {path}")


def _is_signed_by(certificate: "x509.Certificate", authority: "x509.Certificate") -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - for closed sites alone

    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _names(certificate: "x509.Certificate") -> tuple[str, ...]:
    from cryptography import x509  # noqa: PLC0415 - for closed sites alone

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return (*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress)))


def _require_host(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not _HOST.fullmatch(name):
        raise KeysError(f"{name!r:.80} cannot be a name of the router: a host name, or an address")
    return name.lower()


def _plain(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def _domain(name: str) -> str:
    return name.lower().partition(".")[2]
