"""What the tables store compressed: readable by any zlib, in every version, and damage is no crash."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.domain.compression import Compressor, decompress, has_dictionary
from plaid_sync.domain.dictionaries import ACCOUNTS, DICTIONARIES, TRANSACTION

from tests.plaid_openapi import openapi

TEXT = b'{"account_owner":null,"authorized_datetime":null,"category":null}'
STREAM = Compressor(TRANSACTION).compress(TEXT)


def test_no_dictionary_is_ever_changed() -> None:
    """What is stored can be read with the very same dictionary only: add a new one, and keep the old one."""
    assert zlib.adler32(TRANSACTION) == 0x3AFDC8F3
    assert zlib.adler32(ACCOUNTS) == 0x702940D5
    assert set(DICTIONARIES) >= {TRANSACTION, ACCOUNTS}


@given(st.binary(max_size=20_000), st.sampled_from(DICTIONARIES))
def test_a_stream_names_its_dictionary_and_any_zlib_reads_it_with_that(text: bytes, dictionary: bytes) -> None:
    stream = Compressor(dictionary).compress(text)
    assert has_dictionary(stream)
    assert int.from_bytes(stream[2:6], "big") == zlib.adler32(dictionary)
    assert zlib.decompressobj(zdict=dictionary).decompress(stream) == text
    assert decompress(stream) == text


def test_a_compressor_can_be_used_again() -> None:
    compressor = Compressor(TRANSACTION)
    assert compressor.compress(TEXT) == compressor.compress(TEXT) == STREAM
    assert len(STREAM) < len(TEXT) / 3


def test_other_streams_are_read_too() -> None:
    """Of older versions without a dictionary, and of any level, window and strategy."""
    assert decompress(zlib.compress(TEXT, 9)) == TEXT
    assert not has_dictionary(zlib.compress(TEXT, 9))
    other = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_HUFFMAN_ONLY, TRANSACTION)
    assert decompress(other.compress(TEXT) + other.flush()) == TEXT


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        "text",
        7,
        b"",
        b"x",
        b"no zlib",
        STREAM[:-1],
        STREAM[:5],
        STREAM[:6],
        STREAM[:10] + b"\xff" + STREAM[11:],
        zlib.compress(TEXT)[:-1],
        STREAM[:2] + b"\0\0\0\1" + STREAM[6:],
    ],
    ids=str,
)
def test_what_cannot_be_read_is_none(damaged: object) -> None:
    assert decompress(damaged) is None


def test_a_stream_with_a_dictionary_of_a_later_version_cannot_be_read() -> None:
    later = zlib.compressobj(zdict=TRANSACTION + b"more")
    assert decompress(later.compress(TEXT) + later.flush()) is None


NATIVE = {"transaction_id", "account_id", "date", "pending", "iso_currency_code", "payment_channel"}
"""Never null, and attributes of their own."""
INSIGHTS = {"verification_insights", "account_number_format", "name_match_score", "network_status", "previous_returns"}
"""Of another product."""


@pytest.mark.parametrize(
    ("schema", "dictionary", "without"), [("Transaction", TRANSACTION, NATIVE), ("AccountBase", ACCOUNTS, INSIGHTS)]
)
def test_dictionaries_have_the_fields_of_plaids_objects(schema: str, dictionary: bytes, without: set[str]) -> None:
    names = {name for name in openapi().fields(schema) - without if not name.startswith(("has_", "is_"))}
    assert {name for name in names if f'"{name}"'.encode() not in dictionary} == set()
