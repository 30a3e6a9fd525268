/* keeplabel.c: a security label provider "keep" that takes every label, for tests of SECURITY LABEL entries.
 * Needs no server headers (there are none on this machine): what it uses of them is declared here, for 13 to 18.
 *   gcc -shared -fPIC -DPG_MAJOR=15 -o keeplabel15.so keeplabel.c
 * Load it into every session that sets labels, the restore's too: postgres -c session_preload_libraries=/path/keeplabel15.so
 * (an absolute path needs no place in $libdir), or PGOPTIONS='-c session_preload_libraries=...' for a superuser. */
struct abi { int version, funcmaxargs, indexmaxkeys, namedatalen, float8byval;
#if PG_MAJOR >= 15
  char extra[32];
#endif
};
#if PG_MAJOR >= 15
#define EXTRA , "PostgreSQL"
#else
#define EXTRA
#endif
struct magic { int len; struct abi abi;
#if PG_MAJOR >= 18
  const char *name, *version;
#endif
};
extern const struct magic *Pg_magic_func(void);
extern void _PG_init(void);
extern void register_label_provider(const char *name, void (*check)(const void *object, const char *label));
const struct magic *Pg_magic_func(void) {
  static const struct magic m = { sizeof m, { PG_MAJOR * 100, 100, 32, 64, 1 EXTRA } };
  return &m;
}
static void check(const void *object, const char *label) { (void)object, (void)label; }
void _PG_init(void) { register_label_provider("keep", check); }
