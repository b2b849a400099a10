"""Addresses of databases: what is hidden, and what is refused because it could not be hidden."""

import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.data.database_uri import DatabaseUri
from cmpi.errors import UsageError


@pytest.mark.parametrize(
    "text, shown",
    [
        ("postgres://h", "postgres://h"),
        ("postgresql://", "postgresql://"),
        ("postgresql://u@h:1,g:2/d?x=y", "postgresql://u@h:1,g:2/d?x=y"),
        ("postgresql://u:@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p:q@[::1]:5/d", "postgresql://u:***@[::1]:5/d"),
        (
            "postgresql:///d?password=a&user=u@x&sslpassword=b",
            "postgresql:///d?password=***&user=u@x&sslpassword=***",
        ),
    ],
)
def test_passwords_are_hidden(text, shown):
    uri = DatabaseUri(text)
    assert str(uri) == repr(uri) == shown and uri.with_secrets == text
    assert pickle.loads(pickle.dumps(uri)) == uri != DatabaseUri("postgresql://other")


@pytest.mark.parametrize(
    "text",
    [
        "host=h password=s3cret",
        "mysql://u:s3cret@h",
        "postgresql://u:s3/cret@h",
        "postgresql://u:s3@cret@h/d",
        "",
        None,
        5,
    ],
)
def test_an_address_of_another_form_is_refused_and_not_repeated(text):
    with pytest.raises(UsageError) as raised:
        DatabaseUri(text)
    assert "s3" not in str(raised.value) and "uri" in str(raised.value)


@given(password=st.text(min_size=1), option=st.text(min_size=1))
def test_no_message_has_a_password(password, option):
    text = f"postgresql://u:{quote(password, '')}@h/d?password={quote(option, '')}"
    message = DatabaseUri(text).hide(f"{text} and {quote(password, '')}")
    assert message == DatabaseUri(text).hide("postgresql://u:***@h/d?password=*** and ***")
