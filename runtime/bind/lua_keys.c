/*
 * moonkeep.core.keys: keys of age (codec/age.h), and of signatures (codec/ed25519.h); and the
 * stages that seal and open. Private keys are texts here, which the Lua library adds to what is
 * redacted.
 */
#include <string.h>

#include "bind/bind.h"
#include "codec/age.h"
#include "codec/ed25519.h"
#include "flow/stages.h"

/* ---- age ----------------------------------------------------------------------------------- */

/* age_generate() -> "AGE-SECRET-KEY-1...", "age1..." */
static int l_age_generate(lua_State *L)
{
    uint8_t identity[MK_AGE_KEY_BYTES], recipient[MK_AGE_KEY_BYTES];
    char text[MK_AGE_TEXT];
    struct mk_error err;
    if (mk_age_generate(identity, &err) != MK_OK ||
        mk_age_recipient_of(identity, recipient, &err) != MK_OK) {
        mk_age_wipe(identity, sizeof identity);
        return mk_raise(L, &err);
    }
    mk_age_show_identity(identity, text);
    lua_pushstring(L, text);
    mk_age_wipe(identity, sizeof identity);
    mk_age_show_recipient(recipient, text);
    lua_pushstring(L, text);
    return 2;
}

/* age_recipient(identity) -> its recipient; nil: it is no identity */
static int l_age_recipient(lua_State *L)
{
    uint8_t identity[MK_AGE_KEY_BYTES], recipient[MK_AGE_KEY_BYTES];
    char text[MK_AGE_TEXT];
    struct mk_error err;
    if (!mk_age_parse_identity(luaL_checkstring(L, 1), identity))
        return 0;
    int status = mk_age_recipient_of(identity, recipient, &err);
    mk_age_wipe(identity, sizeof identity);
    if (status != MK_OK)
        return mk_raise(L, &err);
    mk_age_show_recipient(recipient, text);
    lua_pushstring(L, text);
    return 1;
}

/* age_is_recipient(text) -> whether it is one */
static int l_age_is_recipient(lua_State *L)
{
    uint8_t recipient[MK_AGE_KEY_BYTES];
    lua_pushboolean(L, mk_age_parse_recipient(luaL_checkstring(L, 1), recipient));
    return 1;
}

/* The list in a field of the stage. Returns NULL, or what is wrong with it. */
static const char *read_keys(lua_State *L, int stage, bool seal, struct mk_age_keys *keys)
{
    const char *wrong = NULL;
    lua_getfield(L, stage, seal ? "recipients" : "identities");
    lua_Integer n = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
    if (n > MK_AGE_MAX_KEYS)
        wrong = "there are more than 64 keys";
    for (lua_Integer i = 1; i <= n && !wrong; i++) {
        const char *text = lua_rawgeti(L, -1, i) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        uint8_t *key = keys->keys[keys->n++];
        if (seal && !mk_age_parse_recipient(text, key))
            wrong = "a recipient is no age1...";
        else if (!seal && !mk_age_parse_identity(text, key))
            wrong = "an identity is no AGE-SECRET-KEY-1...";
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return wrong;
}

MK_RAISES struct mk_ordered *mk_make_age(lua_State *L, int stage, bool seal, struct mk_error *err)
{
    const char *passphrase = mk_opt_field_string(L, stage, "passphrase", NULL);
    struct mk_age_keys *keys = mk_age_keys_new(err);
    if (!keys)
        return NULL;
    const char *wrong = read_keys(L, stage, seal, keys);
    if (!wrong && passphrase && seal && keys->n > 0)
        wrong = "a passphrase cannot be beside recipients";
    else if (!wrong && !passphrase && keys->n == 0 && seal)
        wrong = "it needs recipients or a passphrase";
    int status = wrong ? mk_error_set(err, MK_EINVAL, "age", "%s", wrong) : MK_OK;
    if (status == MK_OK && passphrase)
        status = mk_age_keys_set_passphrase(keys, passphrase, err);
    if (status == MK_OK)
        return mk_ordered_age(seal, keys, err);
    mk_age_keys_free(keys);
    return NULL;
}

/* ---- signatures ---------------------------------------------------------------------------- */

static const uint8_t *check_bytes(lua_State *L, int index, size_t wanted)
{
    size_t len = 0;
    const char *bytes = luaL_checklstring(L, index, &len);
    luaL_argcheck(L, len == wanted, index, "has another length");
    return (const uint8_t *)bytes;
}

static int push_bytes(lua_State *L, bool ok, const uint8_t *bytes, size_t len)
{
    if (!ok)
        mk_raise_nomem(L);
    lua_pushlstring(L, (const char *)bytes, len);
    return 1;
}

/* sign_generate() -> 32 bytes, a private key */
static int l_sign_generate(lua_State *L)
{
    uint8_t seed[MK_ED25519_KEY];
    int n = push_bytes(L, mk_ed25519_generate(seed), seed, sizeof seed);
    mk_age_wipe(seed, sizeof seed);
    return n;
}

/* sign_public(private key) -> 32 bytes */
static int l_sign_public(lua_State *L)
{
    uint8_t key[MK_ED25519_KEY];
    bool ok = mk_ed25519_public(check_bytes(L, 1, MK_ED25519_KEY), key);
    return push_bytes(L, ok, key, sizeof key);
}

/* sign(private key, text) -> 64 bytes */
static int l_sign(lua_State *L)
{
    size_t len = 0;
    uint8_t signature[MK_ED25519_SIGNATURE];
    const char *text = luaL_checklstring(L, 2, &len);
    bool ok = mk_ed25519_sign(check_bytes(L, 1, MK_ED25519_KEY), text, len, signature);
    return push_bytes(L, ok, signature, sizeof signature);
}

/* verify(public key, text, signature) -> whether it is the text's */
static int l_verify(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 2, &len);
    lua_pushboolean(L, mk_ed25519_verify(check_bytes(L, 1, MK_ED25519_KEY), text, len,
                                         check_bytes(L, 3, MK_ED25519_SIGNATURE)));
    return 1;
}

int luaopen_core_keys(lua_State *L)
{
    static const luaL_Reg functions[] = {{"age_generate", l_age_generate},
                                         {"age_recipient", l_age_recipient},
                                         {"age_is_recipient", l_age_is_recipient},
                                         {"sign_generate", l_sign_generate},
                                         {"sign_public", l_sign_public},
                                         {"sign", l_sign},
                                         {"verify", l_verify},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
