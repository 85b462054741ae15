"""Protobuf by the bytes: cached bytes go out as they are, and no message is made of them.

A message is its fields one after another, so encoded parts that are joined are one message.
"""

_LENGTH_DELIMITED = 2
_BITS = 7
_MASK, _MORE = 0x7F, 0x80


def field(number: int, data: bytes) -> bytes:
    """A field that holds a message, a string or bytes; numbers below 16 only."""
    tag, length = number << 3 | _LENGTH_DELIMITED, len(data)
    if length <= _MASK:
        return bytes((tag, length)) + data
    if length < 1 << 2 * _BITS:  # nearly all are
        return bytes((tag, length & _MASK | _MORE, length >> _BITS)) + data
    head = [tag]
    while length > _MASK:
        head.append(length & _MASK | _MORE)
        length >>= _BITS
    return bytes((*head, length)) + data


def renumbered(number: int, one_field: bytes) -> bytes:
    """The same field under another number."""
    return bytes((number << 3 | _LENGTH_DELIMITED,)) + one_field[1:]
