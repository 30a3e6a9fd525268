/*
 * moonkeep.core.hash: digests of small texts and their spellings, for signatures and checksums.
 * Streams have stages of flows for that.
 */
#include <string.h>

#include "bind/bind.h"
#include "codec/digest.h"

static int push_bytes(lua_State *L, bool ok, const uint8_t *bytes, size_t len)
{
    if (!ok)
        return luaL_error(L, "OpenSSL could not hash");
    lua_pushlstring(L, (const char *)bytes, len);
    return 1;
}

/* sha256(text) -> 32 bytes */
static int l_sha256(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    uint8_t out[MK_SHA256_BYTES];
    return push_bytes(L, mk_sha256(text, len, out), out, sizeof out);
}

/* md5(text) -> 16 bytes; for Content-MD5, which is no protection */
static int l_md5(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    uint8_t out[MK_MD5_BYTES];
    return push_bytes(L, mk_md5(text, len, out), out, sizeof out);
}

/* blake2b(text) -> 64 bytes */
static int l_blake2b(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    uint8_t out[MK_BLAKE2B_BYTES];
    return push_bytes(L, mk_blake2b(text, len, out), out, sizeof out);
}

/* hmac_sha256(key, text) -> 32 bytes */
static int l_hmac_sha256(lua_State *L)
{
    size_t key_len = 0, len = 0;
    const char *key = luaL_checklstring(L, 1, &key_len), *text = luaL_checklstring(L, 2, &len);
    uint8_t out[MK_SHA256_BYTES];
    return push_bytes(L, mk_hmac_sha256(key, key_len, text, len, out), out, sizeof out);
}

/* hex(bytes) -> text */
static int l_hex(lua_State *L)
{
    static const char digits[] = "0123456789abcdef";
    size_t len = 0;
    const char *bytes = luaL_checklstring(L, 1, &len);
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, 2 * len);
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[(uint8_t)bytes[i] >> 4];
        out[2 * i + 1] = digits[(uint8_t)bytes[i] & 15];
    }
    luaL_pushresultsize(&buffer, 2 * len);
    return 1;
}

/* unhex(text) -> bytes; raises for what is none */
static int l_unhex(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len % 2 == 0 && strspn(text, "0123456789abcdefABCDEF") == len, 1, "not hex");
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, len / 2);
    for (size_t i = 0; i < len; i += 2) {
        int high = text[i] <= '9' ? text[i] - '0' : (text[i] | 32) - 'a' + 10;
        int low = text[i + 1] <= '9' ? text[i + 1] - '0' : (text[i + 1] | 32) - 'a' + 10;
        out[i / 2] = (char)(high << 4 | low);
    }
    luaL_pushresultsize(&buffer, len / 2);
    return 1;
}

/* base64(bytes) -> text (RFC 4648, with padding) */
static int l_base64(lua_State *L)
{
    size_t len = 0;
    const char *bytes = luaL_checklstring(L, 1, &len);
    size_t room = (len + 2) / 3 * 4 + 1;
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, room);
    mk_base64(bytes, len, out);
    luaL_pushresultsize(&buffer, room - 1);
    return 1;
}

/* unbase64(text) -> bytes; raises for what is none */
static int l_unbase64(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_Buffer buffer;
    char *out = luaL_buffinitsize(L, &buffer, len / 4 * 3 + 1);
    int n = mk_unbase64(text, len, (uint8_t *)out);
    if (n < 0)
        return luaL_error(L, "not base64");
    luaL_pushresultsize(&buffer, (size_t)n);
    return 1;
}

int luaopen_core_hash(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"sha256", l_sha256},           {"md5", l_md5},           {"blake2b", l_blake2b},
        {"hmac_sha256", l_hmac_sha256}, {"hex", l_hex},           {"unhex", l_unhex},
        {"base64", l_base64},           {"unbase64", l_unbase64}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
