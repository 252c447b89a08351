#!/usr/bin/env python3
"""Reads and verifies HIC modules as docs/spec/hicmod.md says, with nothing but Python's standard library.

It shares no code with the system: what the two say of the same bytes is compared by a test (hicmod-tool/tests/spec.rs).

    hicmod.py FILE --root root.der [--revoked LISTS] [--now SECONDS]
    hicmod.py --vectors docs/spec/vectors/vectors.json      one JSON line for each vector
"""

import argparse
import calendar
import hashlib
import json
import pathlib
import struct
import sys
import time
import zlib

PAGE = 4096
HOUR = 3600
MAX_CERTIFICATE = 4096
SHA384_WITH_RSA = "1.2.840.113549.1.1.12"
RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
CODE_SIGNING = "1.3.6.1.5.5.7.3.3"
ANY_USE = "2.5.29.37.0"


class Refused(Exception):
    """A check failed; its first argument is the check's name."""


def need(good, check):
    if not good:
        raise Refused(check)


# --- Container -------------------------------------------------------------------------------------------------------------------------


def u16(data, at):
    return struct.unpack_from("<H", data, at)[0]


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def container(data):
    """The sections as (kind, offset, bytes)."""
    need(len(data) >= 8, "truncated")
    need(data[:8] == b"HICMOD\r\n", "format")
    need(len(data) >= 10, "truncated")
    need(u16(data, 8) == 1, "format")
    need(len(data) >= 12, "truncated")
    count = u16(data, 10)
    need(count <= 16, "format")
    need(len(data) >= 16, "truncated")
    need(len(data) >= u32(data, 12), "truncated")
    need(len(data) == u32(data, 12), "format")
    need(len(data) >= 24, "truncated")
    need(u32(data, 20) == 0, "format")
    end = 24 + 16 * count
    need(len(data) >= end, "truncated")
    need(zlib.crc32(data[24:end], zlib.crc32(data[:16])) == u32(data, 16), "checksum")
    sections = []
    for row in range(24, end, 16):
        kind, flags, offset, length, crc = struct.unpack_from("<HHIII", data, row)
        need(flags & ~1 == 0 and offset + length <= len(data), "format")
        need(offset == end + -end % 8 and not any(data[end:offset]), "format")
        end = offset + length
        need(zlib.crc32(data[offset:end]) == crc, "checksum")
        need(kind in (1, 2, 16) or not flags, "format")
        need(all(kind != earlier for earlier, _, _ in sections), "format")
        sections.append((kind, offset, data[offset:end]))
    need(end == len(data), "format")
    return sections


# --- Signature section -------------------------------------------------------------------------------------------------------------------


class Block:
    def __init__(self, sections):
        need(any(kind == 16 for kind, _, _ in sections), "unsigned")
        kind, self.offset, data = sections[-1]
        need(kind == 16, "format")
        need(len(data) >= 4 and data[:4] == b"HICS" and len(data) >= 72, "format")
        version, header = u16(data, 4), u16(data, 6)
        need((version, header) in ((1, 72), (2, 80)) and len(data) >= header, "format")
        sizes = [u32(data, 64 + 4 * number) for number in range(version + 1)]
        need(all(1 <= size <= MAX_CERTIFICATE for size in sizes), "format")
        need(version == 1 or u32(data, 76) == 0, "format")
        need(len(data) == header + sum(sizes) + 384, "format")
        self.signed_at, self.digest = u64(data, 8), data[16:64]
        self.certificates = []
        for size in sizes:
            self.certificates.append(data[header : header + size])
            header += size
        self.signed, self.signature = data[:header], data[header:]


def content_digest(data, sections, offset):
    head = bytearray(data[: 24 + 16 * len(sections)])
    head[16:20] = bytes(4)
    head[-4:] = bytes(4)
    return hashlib.sha384(bytes(head) + data[len(head) : offset]).digest()


def is_signed(key, message, signature):
    """RSASSA-PKCS1-v1_5 with SHA-384 (RFC 8017, 8.2.2)."""
    modulus, exponent = key
    prefix = bytes.fromhex("3041300d060960864801650304020205000430")
    end = prefix + hashlib.sha384(message).digest()
    padded = b"\x00\x01" + b"\xff" * (384 - 3 - len(end)) + b"\x00" + end
    number = int.from_bytes(signature, "big")
    return len(signature) == 384 and number < modulus and pow(number, exponent, modulus).to_bytes(384, "big") == padded


# --- DER and X.509 -----------------------------------------------------------------------------------------------------------------------


class Der:
    """Values one behind the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def more(self):
        return self.at < len(self.data)

    def peek(self):
        return self.data[self.at] if self.more() else None

    def value(self, tag=None):
        """(tag, content, the whole value) of the next one."""
        start, data = self.at, self.data
        if len(data) < start + 2 or (tag is not None and data[start] != tag):
            raise ValueError("another tag")
        length, at = data[start + 1], start + 2
        if length >= 0x80:
            count = length & 0x7F
            if not 1 <= count <= 4 or len(data) < at + count:
                raise ValueError("length")
            length, at = int.from_bytes(data[at : at + count], "big"), at + count
            if length < 0x80 or length >> 8 * (count - 1) == 0:
                raise ValueError("not the shortest length")
        if len(data) < at + length:
            raise ValueError("cut off")
        self.at = at + length
        return data[start], data[at : self.at], data[start : self.at]

    def inside(self, tag):
        return Der(self.value(tag)[1])

    def optional(self, tag):
        return self.value(tag)[1] if self.peek() == tag else None


def oid(content):
    numbers, number = [], 0
    for byte in content:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first] + numbers[1:]))


def algorithm(der):
    inner = der.inside(0x30)
    name = oid(inner.value(0x06)[1])
    rest = inner.data[inner.at :]
    return name, rest == b"\x05\x00"


def moment(der):
    tag, text, _ = der.value()
    text = text.decode("ascii")
    if tag == 0x17:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif tag != 0x18:
        raise ValueError("time")
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))


def extensions(data):
    """{oid: (critical, value)}; None if one is there twice or there are too many."""
    found = {}
    outer = Der(data).inside(0x30)
    while outer.more():
        one = outer.inside(0x30)
        name = oid(one.value(0x06)[1])
        flag = one.optional(0x01)
        if name in found or len(found) == 16:
            return None
        found[name] = (flag == b"\xff", one.value(0x04)[1])
    return found


class Certificate:
    def __init__(self, data):
        need(len(data) <= MAX_CERTIFICATE, "certificate")
        try:
            self.parse(data)
        except (ValueError, IndexError, UnicodeDecodeError, OverflowError):
            raise Refused("certificate") from None
        need(self.version == b"\x02", "certificate")
        need(self.issuer != b"\x30\x00" and self.subject != b"\x30\x00", "certificate")
        ours = (SHA384_WITH_RSA, True)
        need(self.outer == ours and self.inner == ours and len(self.signature) == 384, "algorithm")
        need(self.key_algorithm == (RSA_ENCRYPTION, True), "algorithm")
        need(self.key is not None and self.key[0].bit_length() == 3072 and self.key[1] == 65537, "key-size")
        need(self.extensions is not None, "certificate")
        try:
            self.read_extensions()
        except (ValueError, IndexError):
            raise Refused("certificate") from None

    def parse(self, data):
        der = Der(data)
        outer = der.inside(0x30)
        if der.more():
            raise ValueError("trailing bytes")
        _, tbs, self.signed = outer.value(0x30)
        self.outer = algorithm(outer)
        bits = outer.value(0x03)[1]
        self.signature = bits[1:]
        if outer.more() or bits[:1] != b"\x00":
            raise ValueError("signature")
        tbs = Der(tbs)
        version = tbs.optional(0xA0)
        self.version = Der(version).value(0x02)[1] if version else b"\x00"
        self.serial = tbs.value(0x02)[1]
        self.inner = algorithm(tbs)
        self.issuer = tbs.value(0x30)[2]
        validity = tbs.inside(0x30)
        self.valid = (moment(validity), moment(validity))
        self.subject = tbs.value(0x30)[2]
        self.parse_key(tbs.inside(0x30))
        tbs.optional(0x81), tbs.optional(0x82)
        rest = tbs.optional(0xA3)
        self.extensions = extensions(rest) if rest else {}
        if tbs.more():
            raise ValueError("trailing bytes")

    def parse_key(self, info):
        self.key_algorithm = algorithm(info)
        bits = info.value(0x03)[1]
        try:
            numbers = Der(bits[1:]).inside(0x30)
            self.key = tuple(int.from_bytes(numbers.value(0x02)[1], "big") for _ in range(2))
        except ValueError:
            self.key = None

    def read_extensions(self):
        self.authority, self.path, self.usage, self.uses = None, None, None, None
        for name, (critical, value) in self.extensions.items():
            if name == "2.5.29.19":
                inner = Der(value).inside(0x30)
                self.authority = inner.optional(0x01) == b"\xff"
                self.path = inner.value(0x02)[1][0] if inner.more() else None
            elif name == "2.5.29.15":
                bits = Der(value).value(0x03)[1]
                self.usage = {n for n in range(8 * (len(bits) - 1)) if bits[1 + n // 8] & (0x80 >> n % 8)}
            elif name == "2.5.29.37":
                inner = Der(value).inside(0x30)
                self.uses = set()
                while inner.more():
                    self.uses.add(oid(inner.value(0x06)[1]))
            elif name not in ("2.5.29.14", "2.5.29.35"):
                need(not critical, "certificate")

    def check_issuer(self, name, key):
        need(self.issuer == name and is_signed(key, self.signed, self.signature), "chain")

    def check_validity(self, now):
        need(self.valid[0] <= now <= self.valid[1], "validity")

    def check_authority(self, below):
        need(self.authority, "chain")
        need(self.path is None or self.path >= below, "chain")
        need(self.usage is not None and 5 in self.usage, "key-usage")
        need(self.uses is None or self.uses & {CODE_SIGNING, ANY_USE}, "key-usage")

    def check_code_signer(self):
        need(not self.authority, "chain")
        need(self.usage is not None and 0 in self.usage, "key-usage")
        need(self.uses is not None and CODE_SIGNING in self.uses, "key-usage")

    def may_revoke(self):
        return self.usage is not None and 6 in self.usage


# --- Revocation --------------------------------------------------------------------------------------------------------------------------


class Revocations:
    def __init__(self, data):
        need(len(data) <= 64 * 1024, "revocation-list")
        self.lists = []
        der = Der(data)
        try:
            while der.more():
                need(len(self.lists) < 16, "revocation-list")
                self.lists.append(self.read(der.inside(0x30)))
        except (ValueError, IndexError, UnicodeDecodeError, OverflowError):
            raise Refused("revocation-list") from None

    @staticmethod
    def read(outer):
        _, tbs, signed = outer.value(0x30)
        ours = (SHA384_WITH_RSA, True)
        outer_algorithm, bits = algorithm(outer), outer.value(0x03)[1]
        tbs = Der(tbs)
        tbs.optional(0x02)
        need(algorithm(tbs) == ours and outer_algorithm == ours and len(bits) == 385, "revocation-list")
        issuer = tbs.value(0x30)[2]
        moment(tbs)
        if tbs.peek() in (0x17, 0x18):
            moment(tbs)
        serials = set()
        if tbs.peek() == 0x30:
            entries = tbs.inside(0x30)
            while entries.more():
                entry = entries.inside(0x30)
                serials.add(entry.value(0x02)[1])
                moment(entry)
                if entry.more():
                    need(not has_critical(entry.data[entry.at :]), "revocation-list")
        rest = tbs.optional(0xA0)
        need(rest is None or not has_critical(rest), "revocation-list")
        return issuer, serials, signed, bits[1:]

    def check(self, issuer, certificate):
        for name, serials, signed, signature in self.lists:
            if name == issuer.subject:
                need(issuer.may_revoke() and is_signed(issuer.key, signed, signature), "revocation-list")
                need(certificate.serial not in serials, "revoked")


def has_critical(data):
    found = extensions(data)
    return found is None or any(critical for critical, _ in found.values())


# --- Chain -------------------------------------------------------------------------------------------------------------------------------


def check_chain(root, block, now, revoked):
    root.check_validity(now)
    intermediate = Certificate(block.certificates[1])
    top = root
    if len(block.certificates) == 3 and intermediate.issuer != root.subject:
        top = Certificate(block.certificates[2])
        need(top.issuer == root.subject, "root")
        need(root.path is None or root.path >= 2, "chain")
        top.check_issuer(root.subject, root.key)
        top.check_validity(now)
        top.check_authority(1)
        revoked.check(root, top)
    need(top is not root or intermediate.issuer == root.subject, "root")
    intermediate.check_issuer(top.subject, top.key)
    intermediate.check_validity(now)
    intermediate.check_authority(0)
    revoked.check(top, intermediate)
    signer = Certificate(block.certificates[0])
    signer.check_issuer(intermediate.subject, intermediate.key)
    signer.check_validity(now)
    signer.check_code_signer()
    revoked.check(intermediate, signer)
    return signer


# --- Manifest ----------------------------------------------------------------------------------------------------------------------------


class Postcard:
    def __init__(self, data):
        self.data, self.at = data, 0

    def byte(self):
        need(self.at < len(self.data), "manifest")
        self.at += 1
        return self.data[self.at - 1]

    def varint(self, bits):
        number, shift = 0, 0
        for _ in range((bits + 6) // 7):
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                need(number < 1 << bits, "manifest")
                return number
        raise Refused("manifest")

    def flag(self):
        byte = self.byte()
        need(byte < 2, "manifest")
        return bool(byte)

    def text(self, most):
        length = self.varint(64)
        need(length <= most and self.at + length <= len(self.data), "manifest")
        self.at += length
        try:
            return self.data[self.at - length : self.at].decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("manifest") from None

    def list(self, most, item):
        length = self.varint(64)
        need(length <= most, "manifest")
        return [item() for _ in range(length)]

    def option(self, item):
        return item() if self.flag() else None

    def choice(self, names):
        number = self.varint(32)
        need(number < len(names), "manifest")
        return names[number]

    def version(self):
        return [self.varint(32) for _ in range(3)]


AUTHORITIES = ["clock", "entropy", "audit", "inspect", "log-read", "power", "manage", "channel"]


def manifest(data):
    need(2 <= len(data) <= 4096 and u16(data, 0) == 3, "manifest")
    p = Postcard(data[2:])
    name = lambda: p.text(24)
    m = {"name": name(), "version": p.version(), "summary": p.text(80)}
    m["kind"] = p.choice(["service", "application", "driver"])
    m["order"], m["priority"] = p.byte(), p.byte()
    m["budget_us"], m["period_us"] = p.varint(32), p.varint(32)
    m["cpu"] = p.choice(["conserving", "hard"])
    for field in ("stack_pages", "heap_pages", "account_pages", "cspace_slots"):
        m[field] = p.varint(32)
    m["state_regions"] = p.list(8, lambda: {"name": name(), "pages": p.varint(32)})
    m["provides"] = p.list(8, name)
    m["needs"] = p.list(16, lambda: {"service": name(), "optional": p.flag()})
    pci = lambda: "%04x:%04x" % (p.varint(16), p.varint(16))
    m["devices"] = p.list(4, lambda: {"ids": p.list(8, pci), "dma_pages": p.varint(32)})
    m["ioports"] = p.list(8, lambda: {"base": p.varint(16), "len": p.varint(16)})
    m["irqs"] = p.list(8, p.byte)
    m["authority"] = p.list(len(AUTHORITIES), lambda: p.choice(AUTHORITIES))
    never = p.choice(["never", "always"]) == "never"
    m["restart"] = "never" if never else {"always": {"max": p.varint(16), "window_s": p.varint(32)}}
    span = lambda: {"lowest": p.varint(16), "highest": p.varint(16)}
    m["update"] = p.option(lambda: update(p, span))
    m["publisher"] = p.text(48)
    m["dependencies"] = p.list(16, lambda: {"module": name(), "from": p.version(), "below": p.option(p.version)})
    interface = lambda: {"name": name(), "version": p.varint(16)}
    m["interfaces"] = {"provides": p.list(8, interface), "needs": p.list(8, interface)}
    m["parts"] = p.list(8, lambda: {"name": name(), "version": p.version()})
    m["health"] = p.option(lambda: {"every_ms": p.varint(32), "checks": p.byte()})
    m["epoch"], m["abi"] = p.varint(32), span()
    m["optional_authority"] = p.list(len(AUTHORITIES), lambda: p.choice(AUTHORITIES))
    m["build"] = {"time": p.varint(64), "ipc_lib": p.option(p.version)}
    need(p.at == len(p.data), "manifest")
    need(all(d["below"] is None or d["from"] < d["below"] for d in m["dependencies"]), "manifest")
    check_manifest(m)
    return m


def update(p, span):
    return {
        "schema": p.varint(16),
        "readable_by": p.varint(16),
        "reads": p.varint(16),
        "tested_with": p.list(16, p.version),
        "protocols": span(),
    }


def is_name(text):
    first, rest = "abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijklmnopqrstuvwxyz0123456789_-."
    return 1 <= len(text) <= 24 and text[0] in first and all(letter in rest for letter in text)


def printable(text):
    return not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in text)


def check_manifest(m):
    def number(value, lowest, highest):
        need(lowest <= value <= highest, "manifest")

    def names(texts):
        need(all(map(is_name, texts)) and len(set(texts)) == len(texts), "manifest")

    names([m["name"]])
    need(printable(m["summary"]) and printable(m["publisher"]), "manifest")
    number(m["order"], 0, 31), number(m["priority"], 0, 31)
    if m["restart"] != "never":
        number(m["restart"]["always"]["max"], 1, 65535), number(m["restart"]["always"]["window_s"], 1, 86400)
    if (m["budget_us"], m["period_us"]) == (0, 0):
        need(m["cpu"] == "conserving", "manifest")
    else:
        number(m["budget_us"], 1, m["period_us"]), number(m["period_us"], 1000, 1000000)
    number(m["stack_pages"], 1, 256), number(m["heap_pages"], 0, 65536), number(m["cspace_slots"], 16, 65536)
    for region in m["state_regions"]:
        number(region["pages"], 1, 65536)
    names([region["name"] for region in m["state_regions"]])
    names(m["provides"]), names([needed["service"] for needed in m["needs"]])
    need(len(set(m["authority"])) == len(m["authority"]), "manifest")
    need(set(m["optional_authority"]) <= set(m["authority"]), "manifest")
    need(m["kind"] != "application" or not {"manage", "power", "audit"} & set(m["authority"]), "manifest")
    need(m["kind"] == "driver" or not (m["devices"] or m["ioports"] or m["irqs"]), "manifest")
    for device in m["devices"]:
        need(device["ids"], "manifest"), number(device["dma_pages"], 0, 65536)
    need(all(irq < 16 and irq != 2 for irq in m["irqs"]) and len(set(m["irqs"])) == len(m["irqs"]), "manifest")
    taken = set()
    for ports in m["ioports"]:
        number(ports["len"], 1, 65536 - ports["base"])
        run = set(range(ports["base"], ports["base"] + ports["len"]))
        need(not run & taken, "manifest")
        taken |= run
    modules = [dependency["module"] for dependency in m["dependencies"]]
    names(modules), need(m["name"] not in modules, "manifest")
    for side in m["interfaces"].values():
        need(all(is_name(i["name"]) and i["version"] >= 1 for i in side), "manifest")
        need(len({(i["name"], i["version"]) for i in side}) == len(side), "manifest")
    names([part["name"] for part in m["parts"]])
    number(m["abi"]["lowest"], 1, m["abi"]["highest"])
    if m["health"] is not None:
        number(m["health"]["every_ms"], 100, 60000), number(m["health"]["checks"], 1, 100)
    u = m["update"]
    if u is not None:
        number(u["schema"], 1, 9999), number(u["readable_by"], 1, u["schema"]), number(u["reads"], 1, u["schema"])
        number(u["protocols"]["lowest"], 1, u["protocols"]["highest"])
        need(m["version"] not in u["tested_with"], "manifest")
        need(len(set(map(tuple, u["tested_with"]))) == len(u["tested_with"]), "manifest")


# --- Image -------------------------------------------------------------------------------------------------------------------------------


def check_image(data):
    """The services that it exports."""
    need(len(data) >= 48 and data[:4] == b"HICI", "image")
    need(u16(data, 4) == 2 and u16(data, 6) == 48 and u64(data, 40) == 0, "image")
    ro, rx, initialised, zeroed, entry, count, place, exported = struct.unpack_from("<8I", data, 8)
    rw = -(-(initialised + zeroed) // PAGE)
    need(ro + rx + rw <= 16384 and rx > 0, "segment")
    need(count <= 16384 * PAGE // 8, "relocation")
    table = 48 + 4 * count
    need(exported <= 8 and place == table, "exports")
    body = table + 24 * exported
    need(len(data) == body + (ro + rx) * PAGE + initialised, "image")
    exports = [export_name(data[at : at + 24]) for at in range(table, body, 24)]
    need(len(set(exports)) == exported, "exports")
    need(ro * PAGE <= entry < (ro + rx) * PAGE, "segment")
    start = lowest = (ro + rx) * PAGE
    for number in range(count):
        at = u32(data, 48 + 4 * number)
        need(at % 8 == 0 and at >= start and at + 8 <= start + initialised and at >= lowest, "relocation")
        lowest = at + 8
        need(u64(data, body + at) <= (ro + rx + rw) * PAGE, "relocation")
    return exports


def export_name(row):
    try:
        name = row.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("exports") from None
    need(is_name(name), "exports")
    return name


# --- All of it ---------------------------------------------------------------------------------------------------------------------------


def trusted_root(data):
    root = Certificate(data)
    root.check_authority(1)
    return root


def verify(data, root, revoked, now):
    """The manifest of a good module."""
    sections = container(data)
    block = Block(sections)
    need(content_digest(data, sections, block.offset) == block.digest, "digest")
    signer = check_chain(root, block, now, revoked)
    need(is_signed(signer.key, b"HIC module signature 1\n" + block.signed, block.signature), "signature")
    need(signer.valid[0] <= block.signed_at <= signer.valid[1] and block.signed_at <= now + HOUR, "timestamp")
    found = {kind: content for kind, _, content in sections}
    need(1 in found, "format")
    result = manifest(found[1])
    need(2 in found, "format")
    need(set(check_image(found[2])) == set(result["provides"]), "exports")
    return result


def judge(data, root, revoked, now):
    try:
        result = verify(data, trusted_root(root), Revocations(revoked), now)
        return "good", result
    except Refused as refused:
        return refused.args[0], None


def run_vectors(path):
    folder = path.parent
    table = json.loads(path.read_text())
    for vector in table["vectors"]:
        data = bytearray((folder / vector["file"]).read_bytes())
        for at, text in vector.get("edits", []):
            change = bytes.fromhex(text)
            data[at : at + len(change)] = change
        data = bytes(data[: vector.get("cut", len(data))]) + bytes.fromhex(vector.get("append", ""))
        root = (folder / vector.get("root", table["root"])).read_bytes()
        revoked = (folder / vector["revoked"]).read_bytes() if "revoked" in vector else b""
        check, found = judge(data, root, revoked, vector.get("now", table["now"]))
        print(json.dumps({"name": vector["name"], "check": check, "manifest": found}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=pathlib.Path)
    parser.add_argument("--root", type=pathlib.Path)
    parser.add_argument("--revoked", type=pathlib.Path)
    parser.add_argument("--now", type=int, default=int(time.time()))
    parser.add_argument("--vectors", type=pathlib.Path)
    asked = parser.parse_args()
    if asked.vectors:
        return run_vectors(asked.vectors)
    if not (asked.file and asked.root):
        parser.error("give FILE and --root, or --vectors")
    revoked = asked.revoked.read_bytes() if asked.revoked else b""
    check, found = judge(asked.file.read_bytes(), asked.root.read_bytes(), revoked, asked.now)
    print(json.dumps(found, indent=2) if found else f"refused by the check {check}")
    sys.exit(0 if found else 3)


if __name__ == "__main__":
    main()
