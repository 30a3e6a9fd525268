/*
 * moonkeep.core.xml: XML by expat, for the answers of cloud services. An element is a table
 * { name = "Key", text = "what stands in it", its elements... }; attributes, comments and white
 * space between elements are left out. expat knows no external entities unless it is told how to
 * get them, and refuses those that grow without bound.
 *
 * The callbacks may raise (memory may be out), which leaves expat in the middle: its parser is
 * nothing but freed after that, by its box.
 */
#include <expat.h>
#include <string.h>

#include "base/mem.h"
#include "bind/bind.h"

#define PARSER_TYPE "moonkeep.xml.parser"
#define MAX_DEPTH   64

struct parsing {
    lua_State *L;
    XML_Parser parser;
    int depth;  /* the tables of the open elements are on top of the stack */
    char *text; /* that has come since the last tag */
    size_t text_len, text_room;
};

/* What stands between two tags is the innermost element's. */
static void take_text(struct parsing *parsing)
{
    lua_State *L = parsing->L;
    if (parsing->depth == 0 || parsing->text_len == 0)
        return;
    lua_getfield(L, -1, "text");
    lua_pushlstring(L, parsing->text, parsing->text_len);
    lua_concat(L, 2);
    lua_setfield(L, -2, "text");
    parsing->text_len = 0;
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    (void)attributes;
    struct parsing *parsing = arg;
    lua_State *L = parsing->L;
    take_text(parsing);
    if (++parsing->depth > MAX_DEPTH)
        luaL_error(L, "the XML is nested too deeply");
    lua_newtable(L);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "text");
    if (parsing->depth > 1) {
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, (lua_Integer)lua_rawlen(L, -3) + 1);
    }
}

static void on_end(void *arg, const XML_Char *name)
{
    (void)name;
    struct parsing *parsing = arg;
    take_text(parsing);
    if (--parsing->depth > 0) /* the outermost one is the result */
        lua_pop(parsing->L, 1);
}

static void on_text(void *arg, const XML_Char *text, int len)
{
    struct parsing *parsing = arg;
    size_t needed = parsing->text_len + (size_t)len;
    if (needed > parsing->text_room) {
        char *grown = mk_realloc(parsing->text, 2 * needed);
        if (!grown)
            mk_raise_nomem(parsing->L);
        parsing->text = grown;
        parsing->text_room = 2 * needed;
    }
    memcpy(parsing->text + parsing->text_len, text, (size_t)len);
    parsing->text_len = needed;
}

static int parser_gc(lua_State *L)
{
    struct parsing *parsing = lua_touserdata(L, 1);
    if (parsing->parser)
        XML_ParserFree(parsing->parser);
    parsing->parser = NULL;
    mk_free(parsing->text);
    parsing->text = NULL;
    return 0;
}

/* parse(text) -> the outermost element; or nil, why */
static int l_parse(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len <= 64u * 1024 * 1024, 1, "too large");
    lua_settop(L, 1);
    luaL_checkstack(L, MAX_DEPTH + 8, NULL);
    struct parsing *parsing = lua_newuserdatauv(L, sizeof *parsing, 0);
    *parsing = (struct parsing){.L = L};
    luaL_setmetatable(L, PARSER_TYPE);
    parsing->parser = XML_ParserCreate(NULL);
    if (!parsing->parser)
        mk_raise_nomem(L);
    XML_SetUserData(parsing->parser, parsing);
    XML_SetElementHandler(parsing->parser, on_start, on_end);
    XML_SetCharacterDataHandler(parsing->parser, on_text);
    if (XML_Parse(parsing->parser, text, (int)len, XML_TRUE) == XML_STATUS_OK)
        return 1;
    lua_pushnil(L);
    lua_pushfstring(L, "line %d: %s", (int)XML_GetCurrentLineNumber(parsing->parser),
                    XML_ErrorString(XML_GetErrorCode(parsing->parser)));
    return 2;
}

int luaopen_core_xml(lua_State *L)
{
    luaL_newmetatable(L, PARSER_TYPE);
    lua_pushcfunction(L, parser_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    static const luaL_Reg functions[] = {{"parse", l_parse}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
