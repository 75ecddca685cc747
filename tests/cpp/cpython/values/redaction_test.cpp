#include "cpython/values/redaction.h"

#include <doctest/doctest.h>

#include <chrono>
#include <random>
#include <string>

using pystack::cpython::Redaction;

namespace {

/// As pystack/locals_options.py has them.
Redaction defaults() {
    return {.names = {"password", "passwd", "passphrase", "passcode", "secret", "token",
                      "credential", "authorization", "cookie", "session_id", "api_key",
                      "access_key", "encryption_key", "private_key", "signing_key"},
            .words = {"auth", "bearer", "creds", "otp", "pw", "pwd"},
            .in_text = true};
}

std::string masked(std::string_view text, bool is_cut = false) {
    return defaults().masked(text, is_cut).value_or(std::string(text));
}

}  // namespace

TEST_CASE("names that hide their values") {
    const Redaction redaction = defaults();
    for (const char* name : {"password",      "PASSWORD",   "db_password_2",
                             "passwords",     "X-Api-Key",  "api-key",
                             "api_key",       "apikey",     "apiKey",
                             "APIKEY",        "x api key",  "api.key",
                             "my_apikeys",    "pwd",        "PWD",
                             "db_pwd",        "userPwd",    "pwd2",
                             "pwd-old",       "DbPWD",      "passphrase",
                             "sshPassphrase", "auth",       "basic_auth",
                             "proxyAuth",     "HTTPAuth",   "auth2",
                             "X-Auth",        "privatekey", "private-key",
                             "privateKeyPem", "Set-Cookie", "Proxy-Authorization",
                             "access_token",  "bearer",     "AWS_ACCESS_KEY_ID",
                             "passcode",      "sessionid",  "db_creds",
                             "otp",           "root_pw"}) {
        CAPTURE(name);
        CHECK(redaction.hides(name));
    }
    for (const char* name :
         {"",        "author", "authors",     "authority", "authenticated", "coauthor",
          "key",     "api",    "keyapi",      "api__key",  "private",       "monkey",
          "cwd",     "pwdx",   "spwd",        "bearers",   "passing",       "compass",
          "session", "to_ken", "\xc3\xa4uth", "\xff"}) {
        CAPTURE(name);
        CHECK_FALSE(redaction.hides(name));
    }
    CHECK_FALSE(Redaction{}.hides("password"));
    // Patterns of users, who may write anything.
    CHECK_FALSE(Redaction{.names = {"", "_", "-."}, .words = {""}}.hides("a_name"));
    CHECK(Redaction{.names = {"db pass"}}.hides("DB-PASS"));
}

TEST_CASE("passwords in URLs") {
    CHECK(masked("postgres://me:hunter2@host:5432/db") == "postgres://me:<redacted>@host:5432/db");
    CHECK(masked("redis://:hunter2@host") == "redis://:<redacted>@host");
    CHECK(masked("see https://a:b@c/ and ftp://d:e@f.") ==
          "see https://a:<redacted>@c/ and ftp://d:<redacted>@f.");
    CHECK(masked("db://me:p@ss/w@rd@host/x@y") == "db://me:<redacted>@ss/w@rd@host/x@y");
    CHECK(masked("db://me:12@host") == "db://me:<redacted>@host");
    CHECK(masked("db://me:12/34@host") == "db://me:12/34@host");
    CHECK(masked("mongodb://me:x@a:1,b:2/") == "mongodb://me:<redacted>@a:1,b:2/");
    for (const char* text :
         {"http://host:8080/", "http://host:8080", "http://host/a:b@c", "http://[::1]:80/a@b",
          "ssh://git@host/", "http://", "://", "://:@", "a://b:@c", "http://host:80, me@x.org",
          "mongodb://a:1,b:2/x@y", "http://a?b:c@d"}) {
        CAPTURE(text);
        CHECK(masked(text) == text);
    }
    // The end of the password may be behind the cut.
    CHECK(masked("db://me:hunt", true) == "db://me:<redacted>");
    CHECK(masked("db://me:12", true) == "db://me:<redacted>");
    CHECK(masked("db://host:12/x", true) == "db://host:12/x");
    CHECK(masked("db://me:hunt", false) == "db://me:hunt");
}

TEST_CASE("private keys") {
    CHECK(masked("a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b") ==
          "a -----BEGIN RSA PRIVATE KEY-----<redacted>-----END RSA PRIVATE KEY----- b");
    CHECK(masked("-----BEGIN PRIVATE KEY-----\nMIIE", true) ==
          "-----BEGIN PRIVATE KEY-----<redacted>");
    CHECK(masked("-----BEGIN CERTIFICATE-----\nMIIE") == "-----BEGIN CERTIFICATE-----\nMIIE");
}

TEST_CASE("tokens behind their scheme") {
    CHECK(masked("Bearer abc") == "Bearer <redacted>");
    CHECK(masked("BASIC dXNlcjpwYXNz") == "BASIC <redacted>");
    CHECK(masked("curl -H 'x: Bearer eyJhbGciOi.J9-_x'") == "curl -H 'x: Bearer <redacted>'");
    CHECK(masked("got bearer abcdef12, bearer abcdefghijklmnopq") ==
          "got bearer <redacted>, bearer <redacted>");
    CHECK(masked("Bearer eyJhb", true) == "Bearer <redacted>");
    for (const char* text : {"Bearer", "Bearer ", "a Bearer of news", "Basic understanding of it",
                             "the basic idea", "overbearer abcdef12", "b", "basics abcdef12"}) {
        CAPTURE(text);
        CHECK(masked(text) == text);
    }
}

TEST_CASE("values behind their names") {
    CHECK(masked("Authorization: Basic abc, def; ghi\r\nHost: x") ==
          "Authorization: <redacted>\r\nHost: x");
    CHECK(masked("Server=x;Uid=me;Pwd=hunter2;Port=1") == "Server=x;Uid=me;Pwd=<redacted>;Port=1");
    CHECK(masked("https://host/?a=1&api_key=abc&b=2") ==
          "https://host/?a=1&api_key=<redacted>&b=2");
    CHECK(masked(R"({"user": "me", "password": "a\"b c", "x": 1})") ==
          R"({"user": "me", "password": "<redacted>", "x": 1})");
    CHECK(masked(R"({\"password\": \"abc\", \"x\": 1})") ==
          R"({\"password\": \"<redacted>", \"x\": 1})");
    CHECK(masked("{'token': 'abc', 'x': 1}") == "{'token': '<redacted>', 'x': 1}");
    CHECK(masked("password = 'a b' next") == "password = '<redacted>' next");
    CHECK(masked("DB_PASSWORD=abc USER=me") == "DB_PASSWORD=<redacted> USER=me");
    CHECK(masked("password: hunter2\nuser: me") == "password: <redacted>\nuser: me");
    CHECK(masked("password=hunt", true) == "password=<redacted>");
    CHECK(masked("{\"password\": \"hunt", true) == "{\"password\": \"<redacted>");
    for (const char* text : {"author: me", "if password == x", "password:", "password=", "a=b", ":",
                             "=", "the password is here", "12:30:05", "key: value"}) {
        CAPTURE(text);
        CHECK(masked(text) == text);
    }
    CHECK_FALSE(Redaction{.names = {"password"}}.masked("password=1", false));
}

TEST_CASE("no text takes long, or more than it is") {
    const auto begin = std::chrono::steady_clock::now();
    constexpr std::size_t kSize = 100'000;
    for (const std::string_view part :
         {"://", "://a:", "=", ":", "a=", "basic ", "bearer a", "\\", "\"", "'\"\\ =", "://a:1",
          "password", "://:", "b", "\xff"}) {
        std::string text;
        while (text.size() < kSize) text += part;
        (void)masked(text, true);
        (void)masked(text, false);
    }
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
    std::mt19937 random(1);
    constexpr std::string_view kLetters = "://@=\"'\\ bearPASSWDpwd1\n\xc3\xff";
    for (int i = 0; i < 20'000; ++i) {
        std::string text;
        for (unsigned size = random() % 40; size > 0; --size)
            text += kLetters[random() % kLetters.size()];
        (void)masked(text, random() % 2 == 0);
    }
}
