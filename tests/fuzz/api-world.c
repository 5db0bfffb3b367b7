/* Theory of operation: see api-world.h. One turn of the event loop, then the far ends answer what
 * they were asked, until neither has anything to do; timers never are waited for. Then the client
 * hangs up, the init goes away, and whatever still waits for either is answered and freed. */
#include "api-world.h"

#include "api/account/accounts.h"
#include "api/audit/audit.h"
#include "api/db/db.h"
#include "api/dev-wait.h"
#include "api/events/hub.h"
#include "api/http.h"
#include "api/inits.h"
#include "api/jwt.h"
#include "api/supervisor.h"
#include "api/webhooks/webhooks.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/protocol.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#define TURNS_MAX 2000

static struct api api = {.admin_gid = (gid_t)-1, .preview_scheme = "http"};
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static struct ipc supervisor;
static int file = -1; /* what init answers are sent with */
static const char file_text[] =
    "{\"scripts\":{\"dev\":\"vite\"},\"devDependencies\":{\"vite\":\"5\"}}";

static struct {
    struct ipc init;
    int stream;
    struct span answers;
    bool over; /* nothing is answered any more */
    bool moved;
} far = {.init.fd = -1, .stream = -1};

static int listen_here(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/api.sock", fuzz_folder());
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
        fuzz_give_up("listening");
    return fd;
}

static void configure(void)
{
    struct error err = ERROR_NONE;
    char url[64];

    snprintf(url, sizeof(url), "sqlite:%s/api.db", fuzz_folder());
    if (config_init(&api.config, &err) < 0 ||
        config_set(&api.config, "database", "url", url, &err) < 0)
        fuzz_give_up(err.message);
    limiter_init(&api.strangers, 1e9, 1e9);
    limiter_init(&api.keys, 1e9, 1e9);
}

void api_world_open(void)
{
    struct error err = ERROR_NONE;
    struct listener_fd listener = {"http-unix", -1};
    int fds[2];

    log_set_level(LOG_EMERG);
    signal(SIGPIPE, SIG_IGN);
    configure();
    if (sd_event_new(&api.event) < 0 || ipc_pair(fds) < 0)
        fuzz_give_up("set-up");
    ipc_init(&supervisor, fds[0]);
    api.dev_waiters = dev_waiters_new(&api);
    api.inits = inits_new(&api);
    api.events = event_hub_new(&api);
    file = memfd_sealed("file", file_text, sizeof(file_text) - 1, &err);
    if (!api.dev_waiters || !api.inits || !api.events || file < 0 ||
        db_open(api.event, api.config.database_url, 1, &api.db, &err) < 0 ||
        !(api.audit = audit_new(&api)) || jwt_new(&api.config, &api.jwt, &err) < 0 ||
        accounts_new(&api, &err) < 0 || http_new(&api, &err) < 0 ||
        !(api.webhooks = webhooks_new(&api)) ||
        http_listen(api.http, listener.fd = listen_here(), true, &err) < 0 ||
        supervisor_open(&api, fds[1], &listener, 1, &err) < 0)
        fuzz_give_up(err.message);
}

static bool next_is(const char *kinds)
{
    return far.answers.length > 0 && strchr(kinds, far.answers.data[0]) != NULL;
}

/* Events and output stand between the answers. */
static void speak(void)
{
    struct span line;

    while (next_is("!<") && (far.answers.data[0] == '!' ? far.init.fd : far.stream) >= 0 &&
           span_line(&far.answers, &line)) {
        struct span packet = {line.data + 1, line.length - 1};
        far.moved = true;
        if (line.data[0] == '!') {
            fuzz_send(far.init.fd, packet, -1);
        } else if (packet.length > 0) {
            cleanup_free char *text = span_text(packet);
            text[0] = (char)(text[0] - '0');
            fuzz_send(far.stream, (struct span){text, packet.length}, -1);
        }
    }
}

/* With `trusted`, what is no answer becomes a failure. */
static void answer(int peer, json_int_t id, struct span members, int fd, bool trusted)
{
    static const char failed[] = "\"error\":{\"errno\":5,\"code\":\"io\",\"message\":\"no\"}";
    cleanup_free char *text = NULL;
    int length =
        asprintf(&text, "{\"id\":%lld,%.*s}", (long long)id, (int)members.length, members.data);

    if (length < 0)
        fuzz_give_up("asprintf");
    cleanup_json json_t *parsed = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, NULL);
    if (trusted && (!parsed || json_object_get(parsed, "event")))
        answer(peer, id, (struct span){failed, sizeof(failed) - 1}, fd, false);
    else
        fuzz_send(peer, (struct span){text, (size_t)length}, fd);
    far.moved = true;
}

static void answer_next(int peer, json_int_t id, bool trusted)
{
    struct span line = {"", 0};
    int fd = -1;

    speak();
    if (!far.over)
        span_line(&far.answers, &line);
    if (line.length > 0 && line.data[0] == '@') {
        line = (struct span){line.data + 1, line.length - 1};
        fd = file;
    }
    answer(peer, id, line, fd, trusted || line.length == 0);
    speak();
}

static void drop_init(void)
{
    close_and_forget(&far.stream);
    if (far.init.fd >= 0)
        ipc_close(&far.init);
    far.init.fd = -1;
}

static void connect_init(json_int_t id)
{
    static const char connected[] = "\"ok\":{\"generation\":1}";
    int fds[2];

    drop_init();
    if (ipc_pair(fds) < 0)
        fuzz_give_up("socketpair");
    ipc_init(&far.init, fds[0]);
    answer(supervisor.fd, id, (struct span){connected, sizeof(connected) - 1}, fds[1], true);
    close(fds[1]);
}

static bool take_request(struct ipc *ipc, json_int_t *ret_id, const char *wanted,
                         bool *ret_is_wanted)
{
    cleanup_json json_t *message = NULL;
    cleanup_fds struct ipc_fds fds = {.count = 0};
    int r = ipc->fd >= 0 ? ipc_receive(ipc, &message, &fds) : 0;

    if (r == -EPROTO)
        abort();
    if (r <= 0)
        return false;
    *ret_id = json_integer_value(json_object_get(message, "id"));
    *ret_is_wanted = str_equal(json_string_value(json_object_get(message, "op")), wanted);
    if (ipc == &far.init && fds.count > 0) {
        close_and_forget(&far.stream);
        far.stream = ipc_fds_take(&fds, 0);
        fd_set_nonblock(far.stream, true);
    }
    return true;
}

static void play_supervisor(void)
{
    static const char hello[] = "\"ok\":{}";
    json_int_t id;
    bool connect;

    while (take_request(&supervisor, &id, "sandbox.connect", &connect)) {
        if (!api.supervisor || !supervisor_ready(api.supervisor))
            answer(supervisor.fd, id, (struct span){hello, sizeof(hello) - 1}, -1, true);
        else if (connect && !far.over)
            connect_init(id);
        else
            answer_next(supervisor.fd, id, true);
    }
}

static void play_init(void)
{
    char packet[STREAM_CHUNK_MAX + 1];
    json_int_t id;
    bool unused;

    while (take_request(&far.init, &id, "", &unused))
        answer_next(far.init.fd, id, false);
    while (far.stream >= 0 && recv(far.stream, packet, sizeof(packet), MSG_DONTWAIT) > 0)
        far.moved = true;
    speak();
}

/* Until nothing moves. */
static void settle(int client)
{
    char answer_text[4096];

    far.moved = true;
    for (int turn = 0; far.moved && turn < TURNS_MAX; turn++) {
        far.moved = false;
        int r = sd_event_run(api.event, 0);
        if (r < 0)
            fuzz_give_up("the event loop");
        far.moved = r > 0;
        play_supervisor();
        play_init();
        while (client >= 0 && recv(client, answer_text, sizeof(answer_text), MSG_DONTWAIT) > 0)
            far.moved = true;
    }
}

void api_world_exchange(struct span stream, struct span answers)
{
    cleanup_close int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    far.answers = answers;
    far.over = false;
    if (client < 0 || connect(client, (struct sockaddr *)&address, sizeof(address)) < 0)
        fuzz_give_up("connecting to the API");
    settle(client);
    (void)!send(client, stream.data, stream.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    settle(client);
    shutdown(client, SHUT_WR);
    settle(client);
    close_and_forget(&client);
    settle(-1);
    far.over = true;
    drop_init();
    settle(-1);
    http_abort_all(api.http);
    settle(-1);
}
