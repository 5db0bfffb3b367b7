"""A hostile program on the supervisor's socket: runs as a given uid and sends what it is told to.

peer.py SOCKET UID GID; one JSON command a line on stdin, one JSON answer a line on stdout:
  {"do":"connect"}                          -> {"open":bool}: false when it was closed at once
  {"do":"ask","text" or "base64","fds":[]}  -> {"reply":object|null,"fds":n,"closed":bool}
  {"do":"flood","text","count":n}           -> {"sent":k}: as many as are taken, no answer is read
  {"do":"hold","count":n}                   -> {"open":k}: connections that stay open beside the first
fds: "null", "closed-tcp" (not listening), "tcp" (listening on some port), "unix" (listening elsewhere), a path,
"pipe", "memfd" and "sealed:N" (a sealed memfd of N bytes).
"""
import array
import base64
import fcntl
import json
import os
import select
import socket
import sys

path, uid, gid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.setgroups([])
os.setresgid(gid, gid, gid)
os.setresuid(uid, uid, uid)


def connect():
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.connect(path)
    return peer


def is_open(peer):
    """A connection that is not wanted is closed in the turn in which it was accepted; a refusal of a
    request tells that it was wanted."""
    try:
        peer.send(b'{"id":1,"op":"probe"}')
        return bool(peer.recv(65536))
    except OSError:
        return False


def descriptor(kind):
    if kind == "null":
        return os.open("/dev/null", os.O_RDWR)
    if kind[0] == "/":
        return os.open(kind, os.O_RDONLY)
    if kind == "pipe":
        return os.pipe()[0]
    if kind == "memfd" or kind.startswith("sealed:"):
        made = os.memfd_create("peer", os.MFD_ALLOW_SEALING)
        os.write(made, b"x" * int(kind.partition(":")[2] or 1))
        if kind != "memfd":
            fcntl.fcntl(made, fcntl.F_ADD_SEALS, 15)
        return made
    made = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
    if kind == "tcp":
        made.bind(("127.0.0.1", 0))
    if kind == "unix":
        made.bind("")  # an abstract name of the kernel's choice
    if kind != "closed-tcp":
        made.listen(1)
    return made.detach()


def ask(peer, command):
    data = base64.b64decode(command["base64"]) if "base64" in command else command["text"].encode()
    fds = [descriptor(kind) for kind in command.get("fds", [])]
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    answer = {"reply": None, "fds": 0, "closed": False}
    try:
        peer.sendmsg([data], ancillary)
        while not answer["closed"] and answer["reply"] is None:
            if not select.select([peer], [], [], 20)[0]:
                break
            packet, received, _, _ = socket.recv_fds(peer, 1 << 17, 16)
            for fd in received:
                os.close(fd)
            message = json.loads(packet) if packet else {}
            answer["closed"] = not packet
            if "event" not in message and packet:
                answer.update(reply=message, fds=len(received))
    except OSError as error:
        answer.update(closed=True, errno=error.errno)
    for fd in fds:
        os.close(fd)
    return answer


def flood(peer, command):
    data, sent = command["text"].encode(), 0
    peer.setblocking(False)
    for _ in range(command["count"]):
        if not select.select([], [peer], [], 0.2)[1]:
            break
        try:
            peer.send(data.replace(b"NUMBER", str(1000 + sent).encode()))
        except OSError:
            break
        sent += 1
    return {"sent": sent}


connection, held = None, []
for line in sys.stdin:
    order = json.loads(line)
    if order["do"] == "connect":
        connection = connect()
        result = {"open": is_open(connection)}
    elif order["do"] == "hold":
        candidates = [connect() for _ in range(order["count"])]
        held = [one for one in candidates if is_open(one)]
        result = {"open": len(held)}
    else:
        result = {"ask": ask, "flood": flood}[order["do"]](connection, order)
    print(json.dumps(result), flush=True)
