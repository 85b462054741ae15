"""Protobuf by the bytes: what is cached encoded goes out encoded, and no message is made of it.

A message is its fields one after another, so encoded parts that are joined are one message.
"""

_LENGTH_DELIMITED = 2
_MORE = 0x80


def field(number: int, data: bytes) -> bytes:
    """A field that holds a message, a string or bytes; numbers below 16 only."""
    length = len(data)
    if length < _MORE:
        return bytes((number << 3 | _LENGTH_DELIMITED, length)) + data
    head = bytearray((number << 3 | _LENGTH_DELIMITED,))
    while length >= _MORE:
        head.append(length & 0x7F | _MORE)
        length >>= 7
    head.append(length)
    return bytes(head) + data


def renumbered(number: int, one_field: bytes) -> bytes:
    """The same field under another number."""
    return bytes((number << 3 | _LENGTH_DELIMITED,)) + one_field[1:]
