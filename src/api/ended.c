/* Theory of operation: see ended.h. The kernel closes an init's sockets first, then ends everything
 * in its namespace, and only then tells the supervisor: for so long the sandbox still counts as
 * running, and the question is asked again. */
#include "api/ended.h"

#include "api/supervisor.h"
#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define PAUSE_US  ((uint64_t)50 * 1000)
#define TRIES_MAX 60u

struct question {
    struct question *next; /* while it pauses: in api->questions, which nobody else owns then */
    struct api *api;
    char sandbox[SANDBOX_ID_LENGTH + 1];
    ended_fn told;
    void *userdata;
    unsigned int tries;
    sd_event_source *pause;
};

static void answer(struct question *question, const struct error *err)
{
    question->told(question->userdata, err);
    sd_event_source_disable_unref(question->pause);
    free(question);
}

static void ask(struct question *question);

static void leave_list(struct question *question)
{
    struct question **link = &question->api->questions;

    while (*link != question)
        link = &(*link)->next;
    *link = question->next;
}

static int on_pause(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct question *question = userdata;

    (void)source;
    (void)usec;
    question->pause = sd_event_source_disable_unref(question->pause);
    leave_list(question);
    ask(question);
    return 0;
}

static bool ask_again(struct question *question)
{
    struct api *api = question->api;

    if (api->stopping || ++question->tries >= TRIES_MAX ||
        sd_event_add_time_relative(api->event, &question->pause, CLOCK_MONOTONIC, PAUSE_US, 0,
                                   on_pause, question) < 0)
        return false;
    question->next = api->questions;
    api->questions = question;
    return true;
}

static const struct error *removed(const struct question *question, struct error *own)
{
    error_set_code(own, ECONNRESET, "sandbox_ended", "sandbox %s was removed while the command ran",
                   question->sandbox);
    return own;
}

static void on_sandbox(void *userdata, json_t *result, struct ipc_fds *fds, const struct error *err)
{
    struct question *question = userdata;
    const json_t *sandbox = json_object_get(result, "sandbox");
    const char *cause = json_string_value(json_object_get(sandbox, "cause_text"));
    struct error own = ERROR_NONE;

    (void)fds;
    if (!result) {
        if (str_equal(err->code, "sandbox_not_found"))
            err = removed(question, &own);
        answer(question, err);
        return;
    }
    if (!cause && ask_again(question))
        return;
    if (cause)
        error_set_code(&own, ECONNRESET, "sandbox_ended",
                       "sandbox %s ended while the command ran: %s", question->sandbox, cause);
    else
        error_set_code(&own, ECONNRESET, "sandbox_unreachable",
                       "the connection to sandbox %s was lost while the command ran",
                       question->sandbox);
    answer(question, &own);
}

static void ask(struct question *question)
{
    supervisor_call(question->api->supervisor, "sandbox.get",
                    json_pack("{s:s}", "sandbox", question->sandbox), CALL_REPEATABLE, on_sandbox,
                    question);
}

void ended_close(struct api *api)
{
    struct error err = ERROR_NONE;

    error_set_code(&err, ECONNRESET, "sandbox_unreachable",
                   "the API ended before it knew why the command had");
    while (api->questions) {
        struct question *question = api->questions;
        leave_list(question);
        answer(question, &err);
    }
}

void ended_ask(struct api *api, const char *sandbox, ended_fn told, void *userdata)
{
    struct question *question = calloc(1, sizeof(*question));
    struct error err = ERROR_NONE;

    if (!question) {
        error_oom(&err);
        told(userdata, &err);
        return;
    }
    *question = (struct question){.api = api, .told = told, .userdata = userdata};
    snprintf(question->sandbox, sizeof(question->sandbox), "%s", sandbox);
    ask(question);
}
