"""Certificates as a log sees them: which user a chain's first entry makes its author, and by what right."""

from __future__ import annotations

from collections.abc import Sequence

from debros.errors import NotAllowedError
from debros.identity.certificate import Certificate, issue, parse_certificate
from debros.log.manifest import Manifest

__all__ = ["Certificate", "issue", "parse_certificate", "user_of_chain"]


def user_of_chain(author: bytes, certificates: Sequence[Certificate], manifest: Manifest) -> bytes:
    """Return the root key of the user for whom a chain that begins with these certificates writes.

    The certificates are in the order that the header's form demands: device, then write, at most one of each.
    One that is not needed is refused like one that is missing, so a chain has one way to begin.

    Raises:
        NotAllowedError: a certificate is forged, for another key or log, or not needed; or the log is not open
            and the user neither an admin nor granted.
    """
    user, granted = author, False
    for certificate in certificates:
        if certificate.may == "device":
            if certificate.to != author or certificate.by == author:
                raise NotAllowedError("the device certificate is not for the author, or is by the author")
            if certificate.log is not None and certificate.log != manifest.log_id:
                raise NotAllowedError("the device certificate is for another log")
            user = certificate.by
        else:
            if manifest.open or manifest.is_admin(user):
                raise NotAllowedError("a write certificate that the author does not need")
            if certificate.to != user or certificate.log != manifest.log_id:
                raise NotAllowedError("the write certificate is for another user or another log")
            if not manifest.is_admin(certificate.by):
                raise NotAllowedError("the write certificate is not by an admin of this log")
            granted = True
        if not certificate.is_signed():
            raise NotAllowedError(f"the {certificate.may} certificate is not signed by its `by`")
    if not (manifest.open or granted or manifest.is_admin(user)):
        raise NotAllowedError("the log is not open, and the user neither an admin nor granted")
    return user
