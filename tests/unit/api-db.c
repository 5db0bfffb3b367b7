/* The database layer and all that is kept in it: one suite for both drivers. It runs on a fresh
 * SQLite file, or on the database that AURACODE_TEST_DATABASE names (empty, and the tester's own).
 */
#include "api/db/db.h"
#include "api/route.h"
#include "api/store/answers.h"
#include "api/store/audit.h"
#include "api/store/keys.h"
#include "api/store/sessions.h"
#include "api/store/thumbnails.h"
#include "api/store/users.h"
#include "api/store/webhooks.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define T0 ((int64_t)1700000000123)

struct fixture {
    char dir[64], url[256];
    sd_event *event;
    struct db *db;
    char alice[DB_USER_SIZE], bob[DB_USER_SIZE];
};

static struct fixture fixture;

/* The end of the last transaction: rows as text, "a|b" a row, "\n" between them, and "--\n" between
 * statements; or the error's code. */
static struct {
    bool done;
    char code[48];
    char text[4096];
} end;

static void append(const char *text)
{
    size_t used = strlen(end.text);

    snprintf(end.text + used, sizeof(end.text) - used, "%s", text);
}

static void print_result(const struct db_result *result)
{
    for (size_t row = 0; row < result->rows; row++)
        for (size_t column = 0; column < result->columns; column++) {
            const char *value = db_text(result, row, column);
            append(value ? value : "NULL");
            append(column + 1 < result->columns ? "|" : "\n");
        }
}

static size_t n_statements;

static void on_end(void *userdata, const struct db_result *results, const struct error *err)
{
    (void)userdata;
    end.done = true;
    end.text[0] = '\0';
    snprintf(end.code, sizeof(end.code), "%s", err ? err->code : "");
    for (size_t i = 0; results && i < n_statements; i++) {
        append(i ? "--\n" : "");
        print_result(&results[i]);
    }
}

/* Waits for what `started` has begun, of `statements` statements. */
#define WAIT(statements, started)                                                                  \
    do {                                                                                           \
        end.done = false;                                                                          \
        n_statements = (statements);                                                               \
        started;                                                                                   \
        while (!end.done)                                                                          \
            assert_true(sd_event_run(fixture.event, UINT64_MAX) >= 0);                             \
    } while (0)

#define OK(statements, started, expected)                                                          \
    do {                                                                                           \
        WAIT(statements, started);                                                                 \
        assert_string_equal(end.code, "");                                                         \
        assert_string_equal(end.text, expected);                                                   \
    } while (0)

#define FAILS(started, expected)                                                                   \
    do {                                                                                           \
        WAIT(0, started);                                                                          \
        assert_string_equal(end.code, expected);                                                   \
    } while (0)

#define DONE on_end, NULL

/* What nobody is told the end of may be overtaken on another connection: asks until it shows. */
#define SHOWS(asked, expected)                                                                     \
    for (int tries = 0; tries < 10000; tries++) {                                                  \
        WAIT(1, asked);                                                                            \
        if (strcmp(end.text, expected) == 0)                                                       \
            break;                                                                                 \
    }

static void run(enum db_actor actor, const char *user, const char *sql)
{
    struct db_tx *tx = db_begin(actor, user);

    db_add(tx, sql, "");
    db_run(fixture.db, tx, DONE);
}

static int open_db(void)
{
    const char *url = getenv("AURACODE_TEST_DATABASE");

    if (!url)
        snprintf(fixture.url, sizeof(fixture.url), "sqlite:%s/db", fixture.dir);
    else
        snprintf(fixture.url, sizeof(fixture.url), "%s", url);
    return db_open(fixture.event, fixture.url, 3, &fixture.db, NULL);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(fixture.dir, sizeof(fixture.dir), "/tmp/api-db-XXXXXX");
    if (!mkdtemp(fixture.dir) || sd_event_new(&fixture.event) < 0 || open_db() < 0)
        return -1;
    user_of_owner("alice", fixture.alice);
    user_of_owner("bob", fixture.bob);
    WAIT(0, run(DB_SERVICE, NULL, "DELETE FROM auth_users"));
    WAIT(0, users_ensure(fixture.db, fixture.alice, T0, DONE));
    WAIT(0, users_ensure(fixture.db, fixture.bob, T0, DONE));
    return strlen(end.code) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"db", "db-wal", "db-shm"};
    char path[128];

    (void)state;
    db_close(fixture.db);
    sd_event_unref(fixture.event);
    for (size_t i = 0; i < ELEMENTS(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", fixture.dir, files[i]);
        unlink(path);
    }
    return rmdir(fixture.dir);
}

static void test_keys(void **state)
{
    struct store_key key = {.name = "n", .owner = "o", .scopes = SCOPE_READ, .created_at = 5};
    char text[KEY_TEXT_MAX], row[256];

    (void)state;
    assert_int_equal(key_new(text, key.id, NULL), 0);
    assert_int_equal(key_hash(text, key.hash), 0);
    OK(1, keys_add(fixture.db, &key, DONE), "");
    FAILS(keys_add(fixture.db, &key, DONE), "duplicate");
    db_close(fixture.db);
    assert_int_equal(open_db(), 0);
    keys_touch(fixture.db, key.id, 77);
    snprintf(row, sizeof(row), "%s|n|%s|o|1|5|77\n", key.id, key.hash);
    SHOWS(keys_find(fixture.db, key.hash, DONE), row);
    OK(1, keys_find(fixture.db, key.hash, DONE), row);
    OK(1, keys_list(fixture.db, DONE), row);
    snprintf(row, sizeof(row), "%s\n", key.id);
    OK(1, keys_revoke(fixture.db, key.id, 99, DONE), row);
    OK(1, keys_revoke(fixture.db, key.id, 99, DONE), "");
    OK(1, keys_find(fixture.db, key.hash, DONE), "");
    OK(1, keys_list(fixture.db, DONE), "");
}

static void test_answers(void **state)
{
    const int64_t day = 24 * 3600 * (int64_t)1000;
    struct db *db = fixture.db;

    (void)state;
    WAIT(0, run(DB_SERVICE, NULL, "DELETE FROM answers"));
    OK(3, answers_begin(db, "o", "k", "h1", 1000, DONE), "--\nk\n--\nh1|0|\n");
    OK(3, answers_begin(db, "o", "k", "h2", 1000, DONE), "--\n--\nh1|0|\n");
    OK(3, answers_begin(db, "other", "k", "h2", 1000, DONE), "--\nk\n--\nh2|0|\n");
    OK(1, answers_finish(db, "o", "k", 201, "{}", DONE), "");
    answers_reset(db);
    SHOWS(run(DB_SERVICE, NULL, "SELECT count(*) FROM answers WHERE status = 0"), "0\n");
    OK(3, answers_begin(db, "o", "k", "h1", 1000, DONE), "--\n--\nh1|201|{}\n");
    /* the one that was being worked on is free again */
    OK(3, answers_begin(db, "other", "k", "h3", 1000, DONE), "--\nk\n--\nh3|0|\n");
    OK(1, answers_finish(db, "other", "k", 0, NULL, DONE), "");
    OK(3, answers_begin(db, "other", "k", "h4", 1000, DONE), "--\nk\n--\nh4|0|\n");
    OK(3, answers_begin(db, "o", "k", "h5", 1001 + day, DONE), "--\nk\n--\nh5|0|\n");
}

/* Records 1 to 4, with times of 100 to 400. */
static void fill_audit(void)
{
    WAIT(0, run(DB_SERVICE, NULL, "DELETE FROM audit"));
    WAIT(0, run(DB_SERVICE, NULL, "UPDATE audit_anchor SET seq = 0, hash = 'h0'"));
    OK(1,
       audit_append(fixture.db,
                    "[[1,100,\"a\",\"sandboxes/x\",\"{\\\"a\\\":\\\"\xc3\xbc\\\"}\",\"h1\"],"
                    "[2,200,\"\",\"sandboxes/x\",\"{}\",\"h2\"]]",
                    DONE),
       "");
    OK(1,
       audit_append(fixture.db,
                    "[[3,300,\"a\",\"\",\"{}\",\"h3\"],[4,400,\"a\",\"sessions/y\",\"{}\",\"h4\"]]",
                    DONE),
       "");
}

static void test_audit(void **state)
{
    struct audit_search search = {.since = 1, .limit = 1};
    struct db *db = fixture.db;

    (void)state;
    fill_audit();
    FAILS(audit_append(db, "[[5,1,\"\",\"\",\"{}\",\"\"],[4,1,\"\",\"\",\"{}\",\"\"]]", DONE),
          "duplicate");
    OK(3, audit_find_end(db, 3, DONE), "4|h4\n--\nh3\n--\n0|h0\n");
    OK(3, audit_find_end(db, 5, DONE), "4|h4\n--\n--\n0|h0\n");
    OK(1, audit_list(db, &search, DONE), "2|200||sandboxes/x|{}|h2\n3|300|a||{}|h3\n");
    search = (struct audit_search){.target = "sandboxes/x", .before = 4, .limit = 9};
    OK(1, audit_list(db, &search, DONE),
       "2|200||sandboxes/x|{}|h2\n1|100|a|sandboxes/x|{\"a\":\"\xc3\xbc\"}|h1\n");
    search = (struct audit_search){.subject = "a", .since = 3, .limit = 9};
    OK(1, audit_list(db, &search, DONE), "4|400|a|sessions/y|{}|h4\n");
    search.target = "sandboxes/x";
    OK(1, audit_list(db, &search, DONE), "");
    FAILS(run(DB_USER, fixture.alice, "SELECT * FROM audit"), "forbidden");
    FAILS(run(DB_USER, fixture.alice, "DELETE FROM audit"), "forbidden");
    FAILS(run(DB_USER, fixture.alice, "UPDATE audit_anchor SET seq = 1"), "forbidden");
}

static void test_audit_prune(void **state)
{
    struct db *db = fixture.db;

    (void)state;
    fill_audit();
    OK(1, audit_find_old(db, 100, DONE), "NULL\n");
    OK(1, audit_find_old(db, 300, DONE), "2\n");
    OK(1, audit_find_old(db, 1000, DONE), "3\n");
    OK(4, audit_prune_step(db, 2, DONE), "--\n--\n--\n");
    OK(3, audit_find_end(db, 3, DONE), "4|h4\n--\nh3\n--\n2|h2\n");
    /* once more it does nothing */
    OK(4, audit_prune_step(db, 2, DONE), "--\n--\n--\n");
    OK(3, audit_find_end(db, 2, DONE), "4|h4\n--\n--\n2|h2\n");
    OK(1, audit_find_old(db, 300, DONE), "NULL\n");
}

static void make_session(const char *user, const char *title, int64_t time_ms,
                         char ret_id[DB_USER_SIZE])
{
    struct who who = {DB_USER, user};
    struct session_fields fields = {.title = title, .is_active = -1};

    assert_int_equal(uuid_new(ret_id), 0);
    WAIT(0, session_insert(fixture.db, &who, ret_id, user, &fields, time_ms, DONE));
    assert_string_equal(end.code, "");
}

static void test_sessions(void **state)
{
    struct who alice = {DB_USER, fixture.alice};
    struct session_fields more = {.title = "B", .sandbox_id = "abcdefghijkl", .is_active = 0};
    struct session_fields less = {.sandbox_id = "", .is_active = -1};
    char id[DB_USER_SIZE], other[DB_USER_SIZE], row[512];

    (void)state;
    make_session(fixture.alice, "A", T0, id);
    make_session(fixture.alice, "A", T0 + 1, other);
    snprintf(row, sizeof(row), "%s|%s|A|NULL|NULL|NULL|NULL|1|%lld|%lld\n", id, fixture.alice,
             (long long)T0, (long long)T0);
    OK(1, session_find(fixture.db, &alice, id, DONE), row);
    OK(1, session_list(fixture.db, &alice, T0 + 1, other, 10, DONE), row);
    snprintf(row, sizeof(row), "--\n%s|%s|B|NULL|abcdefghijkl|NULL|NULL|0|%lld|%lld\n", id,
             fixture.alice, (long long)T0, (long long)T0 + 2);
    OK(2, session_update(fixture.db, &alice, id, &more, T0 + 2, DONE), row);
    snprintf(row, sizeof(row), "--\n%s|%s|B|NULL|NULL|NULL|NULL|0|%lld|%lld\n", id, fixture.alice,
             (long long)T0, (long long)T0 + 3);
    OK(2, session_update(fixture.db, &alice, id, &less, T0 + 3, DONE), row);
    OK(1, session_delete(fixture.db, &alice, id, DONE), "NULL\n");
    OK(1, session_delete(fixture.db, &alice, id, DONE), "");
    OK(1, session_find(fixture.db, &alice, id, DONE), "");
}

static void test_thumbnails(void **state)
{
    const struct who alice = {DB_USER, fixture.alice}, bob = {DB_USER, fixture.bob};
    const struct who service = {DB_SERVICE, NULL};
    struct db *db = fixture.db;
    char id[DB_USER_SIZE], insert[160];

    (void)state;
    make_session(fixture.alice, "one", T0, id);
    OK(2, thumbnail_find(db, &alice, id, DONE), "1\n--\n");
    WAIT(4, thumbnail_put(db, &bob, id, "e0", "AAAA", "/url", T0, DONE));
    assert_string_equal(end.text, "--\n--\n--\n");
    OK(2, thumbnail_find(db, &service, id, DONE), "1\n--\n");
    WAIT(4, thumbnail_put(db, &alice, id, "e1", "AAAA", "/url", T0, DONE));
    WAIT(4, thumbnail_put(db, &alice, id, "e2", "BBBB", "/url", T0, DONE));
    assert_non_null(strstr(end.text, "|/url|"));
    OK(2, thumbnail_find(db, &alice, id, DONE), "1\n--\ne2|BBBB\n");
    OK(2, thumbnail_find(db, &bob, id, DONE), "--\n");
    OK(3, thumbnail_delete(db, &bob, id, "/url", T0, DONE), "--\n--\n");
    snprintf(insert, sizeof(insert), "INSERT INTO thumbnails VALUES ('%s', 'e', 'x')", id);
    WAIT(0, run(DB_USER, fixture.bob, insert));
    assert_string_equal(end.code, "forbidden");
    OK(1, run(DB_USER, fixture.bob, "SELECT * FROM thumbnails"), "");
    OK(2, thumbnail_find(db, &service, id, DONE), "1\n--\ne2|BBBB\n");
    WAIT(3, thumbnail_delete(db, &alice, id, "/url", T0, DONE));
    OK(2, thumbnail_find(db, &alice, id, DONE), "1\n--\n");
    WAIT(4, thumbnail_put(db, &alice, id, "e3", "CCCC", "/url", T0, DONE));
    WAIT(1, session_delete(db, &alice, id, DONE));
    OK(1, run(DB_SERVICE, NULL, "SELECT etag FROM thumbnails"), "");
}

static void test_webhooks(void **state)
{
    const struct webhook_asker alice = {"alice", false}, bob = {"bob", false}, admin = {"", true};
    struct webhook row = {"w1", "alice", fixture.alice, "u", "s", "[]", false, true, 5};
    const struct webhook_patch patch = {NULL, "s2", NULL, 0}, on = {"u2", NULL, NULL, 1};
    struct db *db = fixture.db;
    char shown[160];

    (void)state;
    WAIT(0, run(DB_SERVICE, NULL, "DELETE FROM webhooks"));
    OK(1, webhook_add(db, &row, DONE), "w1\n");
    FAILS(run(DB_USER, fixture.alice, "SELECT secret FROM webhooks"), "forbidden");
    FAILS(run(DB_USER, fixture.alice, "SELECT body FROM webhook_deliveries"), "forbidden");
    OK(1, webhook_list(db, &bob, NULL, DONE), "");
    OK(1, webhook_list(db, &bob, "w1", DONE), "");
    OK(1, webhook_update(db, &bob, "w1", &patch, DONE), "");
    OK(1, webhook_delete(db, &bob, "w1", DONE), "");
    snprintf(shown, sizeof(shown), "w1|alice|%s|0|u|s2|[]|0|5\n", fixture.alice);
    OK(1, webhook_update(db, &alice, "w1", &patch, DONE), shown);
    OK(1, webhook_list(db, &admin, NULL, DONE), shown);
    WAIT(1, delivery_add(db, "w1", "t", "{}", 100, DONE));
    OK(1, delivery_add(db, "w2", "t", "{}", 100, DONE), "");
    /* an inactive one's wait */
    OK(2, deliveries_claim(db, 200, 300, 9, DONE), "--\nNULL\n");
    WAIT(1, webhook_update(db, &admin, "w1", &on, DONE));
    OK(2, deliveries_claim(db, 99, 300, 9, DONE), "--\n100\n");
    WAIT(2, deliveries_claim(db, 200, 300, 9, DONE));
    assert_non_null(strstr(end.text, "|w1|t|{}|0|100|0|\n--\n300\n"));
    int64_t id = strtoll(end.text, NULL, 10);
    OK(2, deliveries_claim(db, 200, 300, 9, DONE), "--\n300\n");
    OK(1, delivery_failed(db, id, 500, "no", 400, true, DONE), "");
    OK(2, deliveries_dead(db, &bob, "w1", 0, 9, DONE), "--\n");
    WAIT(2, deliveries_dead(db, &alice, "w1", 0, 9, DONE));
    assert_non_null(strstr(end.text, "|w1|t|{}|1|100|500|no\n"));
    OK(2, deliveries_revive(db, &bob, "w1", 0, 500, DONE), "--\n");
    OK(2, deliveries_revive(db, &alice, "w1", id + 1, 500, DONE), "1\n--\n");
    snprintf(shown, sizeof(shown), "1\n--\n%lld\n", (long long)id);
    OK(2, deliveries_revive(db, &alice, "w1", id, 500, DONE), shown);
    OK(1, webhook_delete(db, &alice, "w1", DONE), "w1\n");
    OK(1, run(DB_SERVICE, NULL, "SELECT id FROM webhook_deliveries"), "");
}

static void test_unknown_user(void **state)
{
    char id[DB_USER_SIZE], user[DB_USER_SIZE];
    struct session_fields fields = {.title = "A", .is_active = -1};

    (void)state;
    assert_int_equal(uuid_new(id), 0);
    assert_int_equal(user_of_owner("nobody", user), 0);
    struct who who = {DB_USER, user};
    FAILS(session_insert(fixture.db, &who, id, user, &fields, T0, DONE), "reference");
}

static void test_duplicates(void **state)
{
    struct who alice = {DB_USER, fixture.alice};
    char first[DB_USER_SIZE], last[DB_USER_SIZE], foreign[DB_USER_SIZE], row[64];

    (void)state;
    make_session(fixture.alice, "same", T0, first);
    make_session(fixture.bob, "same", T0, foreign);
    make_session(fixture.alice, "same", T0 + 5, last);
    snprintf(row, sizeof(row), "%s\n", first);
    OK(1, session_deduplicate(fixture.db, &alice, DONE), row);
    OK(1, session_deduplicate(fixture.db, &alice, DONE), "");
    snprintf(row, sizeof(row), "%s\n", foreign);
    OK(1, run(DB_USER, fixture.bob, "SELECT id FROM sessions"), row);
}

static struct message_fields message_of(const char *id, const char *session)
{
    return (struct message_fields){id, session, "user", "it's \"x\"", "USER", T0, "{\"a\":1}"};
}

static void test_messages(void **state)
{
    struct who alice = {DB_USER, fixture.alice};
    char session[DB_USER_SIZE], ids[3][DB_USER_SIZE], expected[160];

    (void)state;
    make_session(fixture.alice, "A", T0, session);
    for (size_t i = 0; i < ELEMENTS(ids); i++) {
        assert_int_equal(uuid_new(ids[i]), 0);
        struct message_fields fields = message_of(ids[i], session);
        WAIT(0, message_insert(fixture.db, &alice, &fields, T0, DONE));
        assert_string_equal(end.code, "");
    }
    struct message_fields again = message_of(ids[1], session);
    FAILS(message_insert(fixture.db, &alice, &again, T0, DONE), "duplicate");
    snprintf(expected, sizeof(expected), "%s\n%s\n%s\n", ids[0], ids[1], ids[2]);
    OK(1, run(DB_USER, fixture.alice, "SELECT id FROM chat_messages ORDER BY seq"), expected);
    WAIT(2, message_list(fixture.db, &alice, session, 0, 0, 1, DONE));
    assert_non_null(strstr(end.text, ids[0]));
    assert_non_null(strstr(end.text, ids[1])); /* one more than asked for */
    assert_null(strstr(end.text, ids[2]));
    assert_non_null(strstr(end.text, "user|it's \"x\"|USER|1700000000123|"));
    WAIT(2, message_list(fixture.db, &alice, session, 0, INT64_MAX, 1, DONE));
    assert_null(strstr(end.text, ids[0]));
    assert_true(strstr(end.text, ids[2]) < strstr(end.text, ids[1]));
    WAIT(0, session_delete(fixture.db, &alice, session, DONE));
    OK(1, run(DB_SERVICE, NULL, "SELECT id FROM chat_messages"), "");
}

/* Each statement would reach another's rows if it were only for our WHERE. */
static void test_row_level_security(void **state)
{
    struct who bob = {DB_USER, fixture.bob};
    struct session_fields fields = {.title = "stolen", .is_active = -1};
    char session[DB_USER_SIZE], message[DB_USER_SIZE], id[DB_USER_SIZE], row[64];

    (void)state;
    make_session(fixture.alice, "A", T0, session);
    assert_int_equal(uuid_new(message), 0);
    struct message_fields own = message_of(message, session);
    struct who alice = {DB_USER, fixture.alice};
    WAIT(0, message_insert(fixture.db, &alice, &own, T0, DONE));
    OK(1, run(DB_USER, fixture.bob, "SELECT id FROM sessions"), "");
    OK(1, run(DB_USER, fixture.bob, "SELECT id FROM chat_messages"), "");
    OK(1, run(DB_USER, fixture.bob, "UPDATE sessions SET title = 'x' RETURNING id"), "");
    OK(1, run(DB_USER, fixture.bob, "DELETE FROM chat_messages RETURNING id"), "");
    OK(1, run(DB_USER, fixture.bob, "DELETE FROM sessions RETURNING id"), "");
    OK(1, session_find(fixture.db, &bob, session, DONE), "");
    OK(2, session_update(fixture.db, &bob, session, &fields, T0, DONE), "--\n");
    OK(1, session_delete(fixture.db, &bob, session, DONE), "");
    OK(2, message_list(fixture.db, &bob, session, 0, 0, 10, DONE), "--\n");
    assert_int_equal(uuid_new(id), 0);
    FAILS(session_insert(fixture.db, &bob, id, fixture.alice, &fields, T0, DONE), "forbidden");
    struct message_fields forged = message_of(id, session);
    FAILS(message_insert(fixture.db, &bob, &forged, T0, DONE), "forbidden");
    FAILS(run(DB_USER, fixture.bob, "SELECT hash FROM api_keys"), "forbidden");
    FAILS(run(DB_USER, fixture.bob, "SELECT body FROM answers"), "forbidden");
    FAILS(run(DB_USER, fixture.bob, "SELECT id FROM auth_users"), "forbidden");
    snprintf(row, sizeof(row), "%s\n", session);
    OK(1, run(DB_USER, fixture.alice, "SELECT id FROM sessions"), row);
    OK(1, run(DB_SERVICE, NULL, "SELECT id FROM sessions"), row);
}

/* Nothing of a transaction stays when its last statement fails, and the connection goes on. */
static void test_all_or_nothing(void **state)
{
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);
    char session[DB_USER_SIZE];

    (void)state;
    make_session(fixture.alice, "A", T0, session);
    db_add(tx, "UPDATE sessions SET title = 'half'", "");
    db_add(tx, "INSERT INTO auth_users (id, created_at) VALUES ($1, from_ms($2))", "ti",
           fixture.alice, T0);
    FAILS(db_run(fixture.db, tx, DONE), "duplicate");
    OK(1, run(DB_SERVICE, NULL, "SELECT title FROM sessions"), "A\n");
}

static void count_end(void *userdata, const struct db_result *results, const struct error *err)
{
    (void)err;
    ++((int *)userdata)[results ? 1 : 0];
}

/* More at once than there are connections: each is answered, in its own way. */
static void test_many_at_once(void **state)
{
    int ends[2] = {0, 0};

    (void)state;
    for (int i = 0; i < 300; i++) {
        struct db_tx *tx = db_begin(i % 2 ? DB_SERVICE : DB_USER, fixture.alice);
        db_add(tx, i % 3 ? "SELECT 1" : "SELECT nonsense", "");
        db_run(fixture.db, tx, count_end, ends);
    }
    while (ends[0] + ends[1] < 300)
        assert_true(sd_event_run(fixture.event, UINT64_MAX) >= 0);
    assert_int_equal(ends[0], 100);
    assert_int_equal(ends[1], 200);
    OK(1, run(DB_SERVICE, NULL, "SELECT 7"), "7\n");
}

static void test_newer_schema_is_refused(void **state)
{
    struct error err = ERROR_NONE;
    sqlite3 *handle;

    (void)state;
    if (!str_starts(fixture.url, "sqlite:"))
        return; /* the database is not ours to spoil */
    assert_int_equal(sqlite3_open(fixture.url + strlen("sqlite:"), &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, "PRAGMA user_version = 9999", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(handle);
    db_close(fixture.db);
    fixture.db = NULL;
    assert_int_equal(db_open(fixture.event, fixture.url, 1, &fixture.db, &err), -EOPNOTSUPP);
    assert_string_equal(err.code, "newer_schema");
    assert_non_null(strstr(err.message, "9999"));
}

static void test_unknown_scheme(void **state)
{
    struct db *db = NULL;
    struct error err = ERROR_NONE;

    (void)state;
    assert_int_equal(db_open(NULL, "mysql://user:secret@host/db", 1, &db, &err), -EINVAL);
    assert_null(strstr(err.message, "secret"));
}

static void test_unreachable(void **state)
{
    struct db *db = NULL;
    struct db_tx *tx = db_begin(DB_SERVICE, NULL);

    (void)state;
    assert_int_equal(db_open(fixture.event, "postgresql:///x?host=/nonexistent", 1, &db, NULL), 0);
    assert_true(db_check(db, NULL) < 0);
    db_add(tx, "SELECT 1", "");
    end.done = false;
    db_run(db, tx, DONE);
    db_close(db);
    assert_true(end.done);
    assert_string_equal(end.code, "database_unavailable");
}

static void test_uuids(void **state)
{
    char one[DB_USER_SIZE], two[DB_USER_SIZE];

    (void)state;
    assert_int_equal(user_of_owner("alice", one), 0);
    assert_int_equal(user_of_owner("alice", two), 0);
    assert_string_equal(one, two);
    assert_int_equal(one[14], '5');
    assert_int_equal(user_of_owner("F47AC10B-58CC-4372-A567-0E02B2C3D479", one), 0);
    assert_string_equal(one, "f47ac10b-58cc-4372-a567-0e02b2c3d479");
    assert_int_equal(uuid_new(one), 0);
    assert_int_equal(one[14], '4');
    assert_int_equal(uuid_parse("f47ac10b58cc4372a5670e02b2c3d479", one), -EINVAL);
    assert_int_equal(uuid_parse("f47ac10b-58cc-4372-a567-0e02b2c3d47g", one), -EINVAL);
    assert_int_equal(uuid_parse("", one), -EINVAL);
}

#define ON_DATABASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DATABASE(test_keys),
        ON_DATABASE(test_answers),
        ON_DATABASE(test_audit),
        ON_DATABASE(test_audit_prune),
        ON_DATABASE(test_sessions),
        ON_DATABASE(test_thumbnails),
        ON_DATABASE(test_webhooks),
        ON_DATABASE(test_unknown_user),
        ON_DATABASE(test_duplicates),
        ON_DATABASE(test_messages),
        ON_DATABASE(test_row_level_security),
        ON_DATABASE(test_all_or_nothing),
        ON_DATABASE(test_many_at_once),
        ON_DATABASE(test_newer_schema_is_refused),
        ON_DATABASE(test_unreachable),
        cmocka_unit_test(test_unknown_scheme),
        cmocka_unit_test(test_uuids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
