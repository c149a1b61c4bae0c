"""Who signs: a certificate of your own, or one that is made here once for development and that nobody else trusts."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import filelock

from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.store import TEMPORARY_PREFIX

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

NAME = "mmrag_pipeline development, not trusted"
CERTIFICATE, KEY = "certificate.pem", "key.pem"
_VALID = timedelta(days=5 * 365)


@dataclass(frozen=True)
class Credentials:
    """A PEM chain, leaf first, and its PEM key; the key shows in no repr."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    algorithm: str
    signer: str

    @property
    def self_made(self) -> bool:
        """Made here for development: nobody else trusts it."""
        return self.signer == NAME

    @property
    def sha256(self) -> str:
        """Hash of the certificate."""
        return hashlib.sha256(self.certificate).hexdigest()

    def expires(self) -> datetime:
        return _leaf(self.certificate, "").not_valid_after_utc


def credentials_in_force(certificate: str | None, key: str | None, *, ledger: str) -> Credentials:
    """A certificate of your own where its two settings name one, else the one made for development beside the ledger.

    Raises:
        UserError: only one of the two is set, or they are of no use (see `open_credentials`).
        Unavailable: another process holds the folder for too long.
    """
    if not certificate and not key:
        return development_credentials(development_folder(ledger))
    if not (certificate and key):
        missing = "MMRAG_C2PA_KEY" if certificate else "MMRAG_C2PA_CERTIFICATE"
        raise UserError(f"a certificate is of no use without its key: set {missing} too, or neither of the two.")
    return open_credentials(certificate, key)


def trusted_certificates(certificate: str | None, *, ledger: str) -> bytes | None:
    """The certificates of this installation, its own and the self-made one: what they signed is `trusted` here."""
    made = os.path.join(development_folder(ledger), CERTIFICATE)
    found = [_read(certificate, "MMRAG_C2PA_CERTIFICATE")] if certificate else []
    found += [_read(made, "the development certificate")] if os.path.exists(made) else []
    return b"\n".join(found) or None


def development_folder(ledger: str) -> str:
    """Where the self-made certificate is kept: `c2pa` beside the ledger, on the same local disk."""
    return os.path.join(os.path.dirname(ledger), "c2pa")


def open_credentials(certificate: str, key: str) -> Credentials:
    """A certificate of your own from two PEM files.

    Raises:
        UserError: a file can't be read, is not what it should be, has expired, or the two don't belong together.
    """
    from cryptography.hazmat.primitives import serialization

    chain, secret = _read(certificate, "MMRAG_C2PA_CERTIFICATE"), _read(key, "MMRAG_C2PA_KEY")
    leaf = _leaf(chain, certificate)
    try:
        private = serialization.load_pem_private_key(secret, None)
    except (ValueError, TypeError):  # `from None`: nothing of a key may be in a message
        raise UserError(f"MMRAG_C2PA_KEY {key} holds no PEM key without a password: name the file that does.") from None
    if private.public_key() != leaf.public_key():
        raise UserError(f"MMRAG_C2PA_KEY {key} is not the key of the certificate {certificate}: name the one that is.")
    if leaf.not_valid_after_utc <= datetime.now(UTC):
        raise UserError(f"the certificate {certificate} expired on {leaf.not_valid_after_utc:%Y-%m-%d}: renew it.")
    return Credentials(chain, secret, _algorithm(private, key), _name(leaf))


def development_credentials(folder: str, *, wait_s: float = 30.0) -> Credentials:
    """The certificate in `folder` (on a local disk), made there where there is none or it is about to expire.

    Raises:
        Unavailable: another process holds the folder for over `wait_s` seconds.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    certificate, key = os.path.join(folder, CERTIFICATE), os.path.join(folder, KEY)
    os.makedirs(folder, exist_ok=True)
    try:
        with filelock.FileLock(os.path.join(folder, "lock"), timeout=wait_s):
            if not os.path.exists(key):
                private = ec.generate_private_key(ec.SECP256R1())
                pem = private.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                _write(key, pem, mode=0o600)
            secret = _read(key, "the development key")
            if not os.path.exists(certificate) or _expires_soon(certificate):
                private = serialization.load_pem_private_key(secret, None)
                _write(certificate, _self_signed(private), mode=0o644)
    except filelock.Timeout:
        raise Unavailable(f"the folder {folder} stayed locked for {wait_s:g} s: try again.") from None
    return open_credentials(certificate, key)


def _self_signed(private: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, NAME), x509.NameAttribute(NameOID.COMMON_NAME, NAME)]
    )
    public, now = private.public_key(), datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
         "encipher_only", "decipher_only"), False)  # fmt: skip
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(private, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


def _expires_soon(path: str) -> bool:
    leaf = _leaf(_read(path, "the development certificate"), path)
    return leaf.not_valid_after_utc - datetime.now(UTC) < timedelta(days=1)


def _algorithm(private: object, path: str) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(private, ec.EllipticCurvePrivateKey):
        found = {256: "es256", 384: "es384", 521: "es512"}.get(private.curve.key_size)
        if found and private.curve.name.startswith("secp"):
            return found
    if isinstance(private, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise UserError(f"MMRAG_C2PA_KEY {path} is of a kind that C2PA does not sign with: use an EC P-256 key.")


def _leaf(chain: bytes, path: str) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        raise UserError(f"MMRAG_C2PA_CERTIFICATE {path} holds no PEM certificate: name the file that does.") from None


def _name(leaf: x509.Certificate) -> str:
    from cryptography.x509.oid import NameOID

    named = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(named[0].value) if named else leaf.subject.rfc4514_string()


def _read(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UserError(f"{what} {path} can't be read ({error.strerror}): correct the path or its rights.") from None


def _write(path: str, data: bytes, *, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment: the mode is there from the first byte."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f"{TEMPORARY_PREFIX}{os.getpid()}-{name}")
    with open(temporary, "wb", opener=partial(os.open, mode=mode)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
