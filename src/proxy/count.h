/* Figures (base/figures.h) of the sandbox that a client is at; without a site, or without figures,
 * nothing is counted. */
#pragma once

#include "proxy/client.h"

/* A final response, or an answer of ours, of that status. */
void count_answer(struct client *client, int status);

/* The request goes to the dev server / its final head has come. */
void count_sent(struct client *client);
void count_head(struct client *client);

/* Bytes from and to the client. */
void count_bytes(struct client *client, uint64_t received, uint64_t sent);

/* The client begins or ends to work for the sandbox. */
void count_open(struct client *client, int change);
