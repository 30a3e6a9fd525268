/*
 * moonkeep.core.xml: XML by expat, for the answers of cloud services. An element is a table
 * { name = "Key", text = "what stands in it", its elements... }; attributes, comments and white
 * space between elements are left out. expat knows no external entities unless it is told how to
 * get them, and refuses those that grow without bound.
 *
 * Lua may raise whenever memory is out, and expat must not be left in the middle. So its callbacks
 * only write down what comes, and the tables are made when it is done:
 *
 *   '<' name NUL   an element begins
 *   '"' length text
 *   '>'            it ends
 */
#include <expat.h>
#include <string.h>

#include "base/mem.h"
#include "bind/bind.h"

#define NOTES_TYPE "moonkeep.xml.notes"
#define MAX_DEPTH  64

struct notes {
    XML_Parser parser;
    char *bytes;
    size_t len, room;
    int depth;
    const char *why; /* it was stopped */
};

static void stop(struct notes *notes, const char *why)
{
    notes->why = why;
    XML_StopParser(notes->parser, XML_FALSE);
}

static void note(struct notes *notes, const void *bytes, size_t len)
{
    if (notes->why)
        return;
    if (notes->len + len > notes->room) {
        size_t room = 2 * (notes->len + len);
        char *grown = mk_realloc(notes->bytes, room);
        if (!grown) {
            stop(notes, "out of memory");
            return;
        }
        notes->bytes = grown;
        notes->room = room;
    }
    memcpy(notes->bytes + notes->len, bytes, len);
    notes->len += len;
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    (void)attributes;
    struct notes *notes = arg;
    if (++notes->depth > MAX_DEPTH) {
        stop(notes, "it is nested too deeply");
        return;
    }
    note(notes, "<", 1);
    note(notes, name, strlen(name) + 1);
}

static void on_end(void *arg, const XML_Char *name)
{
    (void)name;
    struct notes *notes = arg;
    notes->depth--;
    note(notes, ">", 1);
}

static void on_text(void *arg, const XML_Char *text, int len)
{
    size_t n = (size_t)len;
    note(arg, "\"", 1);
    note(arg, &n, sizeof n);
    note(arg, text, n);
}

static int notes_gc(lua_State *L)
{
    struct notes *notes = lua_touserdata(L, 1);
    mk_free(notes->bytes);
    notes->bytes = NULL;
    return 0;
}

/* ---- tables --------------------------------------------------------------------------------- */

/* The texts between two tags are the innermost element's, which is on top. Returns the next note.
 */
static const char *add_texts(lua_State *L, const char *at, const char *end)
{
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    while (at < end && *at == '"') {
        size_t len;
        memcpy(&len, at + 1, sizeof len);
        luaL_addlstring(&buffer, at + 1 + sizeof len, len);
        at += 1 + sizeof len + len;
    }
    luaL_pushresult(&buffer);
    lua_getfield(L, -2, "text");
    lua_insert(L, -2);
    lua_concat(L, 2);
    lua_setfield(L, -2, "text");
    return at;
}

static void begin_element(lua_State *L, const char *name, bool is_outermost)
{
    lua_newtable(L);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "text");
    if (!is_outermost) {
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, (lua_Integer)lua_rawlen(L, -3) + 1);
    }
}

/* Pushes the outermost element. */
static void push_element(lua_State *L, const struct notes *notes)
{
    const char *at = notes->bytes, *end = at + notes->len;
    for (int depth = 0; at < end;) {
        if (*at == '<') {
            begin_element(L, at + 1, depth++ == 0);
            at += strlen(at) + 1;
        } else if (*at == '>') {
            if (--depth > 0)
                lua_pop(L, 1);
            at++;
        } else {
            at = add_texts(L, at, end);
        }
    }
}

/* parse(text) -> the outermost element; or nil, why */
static int l_parse(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len <= 64u * 1024 * 1024, 1, "too large");
    lua_settop(L, 1);
    luaL_checkstack(L, MAX_DEPTH + 8, NULL);
    struct notes *notes = lua_newuserdatauv(L, sizeof *notes, 0);
    *notes = (struct notes){.parser = NULL};
    luaL_setmetatable(L, NOTES_TYPE);
    notes->parser = XML_ParserCreate(NULL);
    if (!notes->parser)
        mk_raise_nomem(L);
    XML_SetUserData(notes->parser, notes);
    XML_SetElementHandler(notes->parser, on_start, on_end);
    XML_SetCharacterDataHandler(notes->parser, on_text);
    bool ok = XML_Parse(notes->parser, text, (int)len, XML_TRUE) == XML_STATUS_OK;
    int line = (int)XML_GetCurrentLineNumber(notes->parser);
    const char *why = notes->why ? notes->why : XML_ErrorString(XML_GetErrorCode(notes->parser));
    XML_ParserFree(notes->parser);
    if (ok) {
        push_element(L, notes);
        return 1;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "line %d: %s", line, why);
    return 2;
}

int luaopen_core_xml(lua_State *L)
{
    luaL_newmetatable(L, NOTES_TYPE);
    lua_pushcfunction(L, notes_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    static const luaL_Reg functions[] = {{"parse", l_parse}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
