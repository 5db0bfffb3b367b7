/* Theory of operation: the versions of the schema are files, sql/DRIVER/NNNN.sql; the assembler
 * puts their bytes into the program, since nothing is left to open once it is confined. A version
 * that has been released is never changed: the next one builds on it. */
#include "api/db/driver.h"

#include "base/cleanup.h"

/* NOLINTNEXTLINE(bugprone-macro-parentheses): a name that is declared takes none */
#define EMBED(symbol, file)                                                                        \
    __asm__(".pushsection .rodata\n"                                                               \
            ".global " #symbol "\n" #symbol ":\n"                                                  \
            ".incbin \"" SQL_DIR "/" file "\"\n"                                                   \
            ".byte 0\n"                                                                            \
            ".popsection\n");                                                                      \
    extern const char symbol[] __attribute__((visibility("hidden")))

EMBED(db_sqlite_0001, "sqlite/0001.sql");
EMBED(db_sqlite_0002, "sqlite/0002.sql");
EMBED(db_sqlite_0003, "sqlite/0003.sql");
EMBED(db_sqlite_0004, "sqlite/0004.sql");
EMBED(db_sqlite_0005, "sqlite/0005.sql");
EMBED(db_sqlite_0006, "sqlite/0006.sql");
EMBED(db_postgres_0001, "postgres/0001.sql");
EMBED(db_postgres_0002, "postgres/0002.sql");
EMBED(db_postgres_0003, "postgres/0003.sql");
EMBED(db_postgres_0004, "postgres/0004.sql");
EMBED(db_postgres_0005, "postgres/0005.sql");

const struct db_migration db_sqlite_migrations[] = {{db_sqlite_0001}, {db_sqlite_0002},
                                                    {db_sqlite_0003}, {db_sqlite_0004},
                                                    {db_sqlite_0005}, {db_sqlite_0006}};
const size_t db_sqlite_versions = ELEMENTS(db_sqlite_migrations);

const struct db_migration db_postgres_migrations[] = {
    {db_postgres_0001}, {db_postgres_0002}, {db_postgres_0003}, {db_postgres_0004},
    {db_postgres_0005}};
const size_t db_postgres_versions = ELEMENTS(db_postgres_migrations);
