"""Personal numbers go, in whatever shape; dates, amounts and counts stay."""

import datetime as dt
import string

import phonenumbers
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from surveys.masking import EMAIL, IDENTITY, PHONE, mask


@pytest.mark.parametrize(
    "number",
    [
        "0912345678",
        "0912 345 678",
        "0912.345.678",
        "0912-345-678",
        "0912 - 345 - 678",
        "09 1234 5678",
        "0 9 1 2 3 4 5 6 7 8",
        "(0912) 345 678",
        "+84 912.345.678",
        "+84 (0) 912 345 678",
        "84-912-345-678",
        "84912345678",
        "0084 912 345 678",
        "0292 3 812 345",
        "(0292) 3.812.345",
        "+84 292 3812345",
        "024 3825 1234",
        "01234567890",
        "O912345678",
        "０９１２３４５６７８",
        "٠٩١٢٣٤٥٦٧٨",
        "09\u200b12\u200d345\u2060678",
        "0\ufe0f\u20e39\ufe0f\u20e31\ufe0f\u20e32\ufe0f\u20e33\ufe0f\u20e34\ufe0f\u20e35\ufe0f\u20e36\ufe0f\u20e37\ufe0f\u20e38\ufe0f\u20e3",
        "0912\u00a0345\u2009678",
        "0912–345–678",
        "0912·345·678",
        "+855 12 345 678",
        "+1 650 253 0000",
    ],
)
def test_a_phone_number_goes(number: str) -> None:
    assert mask(number) == PHONE
    assert mask(f"Gọi tôi ({number}) nhé.") in (f"Gọi tôi ({PHONE}) nhé.", f"Gọi tôi {PHONE}) nhé.")
    assert mask(f"SĐT:{number},cảm ơn") == f"SĐT:{PHONE},cảm ơn"


@pytest.mark.parametrize(
    "number",
    [
        "079203001234",
        "079 203 001 234",
        "079.203.001.234",
        "0792 0300 1234",
        "0 7 9 2 0 3 0 0 1 2 3 4",
        "０７９２０３００１２３４",
        "123456789012",
        "331234567",
        "331 234 567",
    ],
)
def test_an_identity_number_goes(number: str) -> None:
    assert mask(f"CCCD {number}.") == f"CCCD {IDENTITY}."


@pytest.mark.parametrize(
    "address", ["a@b.vn", "nguyen.van-a+1@mail.example.com", "ten @ gmail.com", "an@gmail", "ａn＠gmail.com"]
)
def test_an_address_goes(address: str) -> None:
    assert mask(f"Thư: {address} nhé") == f"Thư: {EMAIL} nhé"


@pytest.mark.parametrize(
    "text",
    [
        "ngày 12/10/2026",
        "ngày 12.10.2026 lúc 08.30",
        "09.12.2026 08.30",
        "ngày 03-05-2026 14:30",
        "02/10/2026 0830",
        "giá 1.200.000 đồng",
        "84.500.000.000 đồng",
        "84500000000đ",
        "500000000 đồng",
        "tăng +12.000.000 đ",
        "1234 hồ sơ, 12 hồ sơ trễ",
        "mã 000.00.12.H34-260912-0123",
        "tổng đài 1900 8668 95",
        "tổng đài 18001096",
        "năm 2024 2025 2026",
        "từ 07.30 - 11.30, chiều 13.30 - 17.00",
        "5k @ quầy",
        "Quầy 05, quầy 06",
        "Nghị định 61/2018/NĐ-CP",
    ],
)
def test_dates_amounts_and_counts_stay(text: str) -> None:
    assert mask(text) == text


def test_what_stands_around_stays() -> None:
    text = "Hồ sơ nộp 12/10/2026, phí 1.200.000 đồng, gọi 0912 345 678 hoặc a@b.vn; CCCD 079203001234"
    assert (
        mask(text) == f"Hồ sơ nộp 12/10/2026, phí 1.200.000 đồng, gọi {PHONE} hoặc {EMAIL}; CCCD {IDENTITY}"
    )
    assert mask("ngày 12.10.2026 0912345678") == f"ngày 12.10.2026 {PHONE}"
    assert mask("0912345678 0987654321") == f"{PHONE} {PHONE}"


Digits = st.sampled_from("0123456789")
Separators = st.sampled_from(["", "", "", " ", ".", "-", " - ", "\u200b", "\u00a0", ") "])


@given(
    st.sampled_from(["03", "05", "07", "08", "09", "+843", "+849", "00845", "024", "028", "0292"]),
    st.lists(st.tuples(Separators, Digits), min_size=9, max_size=9),
    st.sampled_from(["", "gọi ", "sđt:", "(", "số"]),
    st.sampled_from(["", " nhé", ".", ", cảm ơn", ")"]),
)
def test_no_way_of_grouping_helps(prefix: str, rest: list[tuple[str, str]], before: str, after: str) -> None:
    length = {"024": 8, "028": 8, "0292": 7}.get(prefix, 8)
    body = "".join(separator + digit for separator, digit in rest[:length])
    assume(not after.startswith(tuple(string.digits)))
    masked = mask(f"{before}{prefix}{body}{after}")
    assert sum(c.isdigit() for c in masked) <= 1, masked  # a date may begin what is no phone


@given(
    st.sampled_from([phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE]), st.data()
)
def test_the_library_of_numbers_agrees(kind: int, data: st.DataObject) -> None:
    sample = phonenumbers.example_number_for_type("VN", kind)
    assert sample is not None
    last = data.draw(st.integers(0, 9999))
    number = phonenumbers.parse(str(sample.national_number)[:-4] + f"{last:04}", "VN")
    assume(phonenumbers.is_valid_number(number))
    for form in (
        phonenumbers.PhoneNumberFormat.NATIONAL,
        phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        phonenumbers.PhoneNumberFormat.E164,
    ):
        assert mask(phonenumbers.format_number(number, form)) == PHONE


@given(
    st.dates(dt.date(1900, 1, 1), dt.date(2099, 12, 31)),
    st.sampled_from(["%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y-%m-%d"]),
    st.integers(0, 9999),
)
def test_any_date_stays(day, form: str, count: int) -> None:
    text = f"ngày {day.strftime(form)}, {count} hồ sơ"
    assert mask(text) == text


@given(st.integers(1, 10**12), st.sampled_from([" đồng", "đ", " VNĐ", " vnd", " triệu"]))
@example(84_912_345_678, " đồng")
def test_any_amount_stays(amount: int, unit: str) -> None:
    for text in (f"{amount:,}{unit}".replace(",", "."), f"{amount}{unit}"):
        assert mask(text) == text


@given(st.text())
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


@pytest.mark.parametrize(
    "text", ["a" * 1000, "0" * 1000, "0 " * 500, "a." * 500 + "@", "(" * 1000, "+" * 1000]
)
def test_hostile_length_comes_to_an_end_and_does_not_grow(text: str) -> None:
    assert len(mask(text)) <= len(text)
