# shellcheck shell=bash disable=SC2034,SC2154  # sourced; the sourcing script prints `failures`
# Runs files of Node's test runner and adds up what their TAP reports say. A skipped test is a failed one, unless
# it says "kernel:" and what is missing. To be set before: logs (a folder), file_timeout_s.
readonly kernel_skip='kernel:'
passed=0
failed=0
failures=()

pass() {
    passed=$((passed + $1))
}

# fail COUNT WHAT
fail() {
    failed=$((failed + $1))
    failures+=("$2")
}

# count REGEX FILE: the number behind the last of them, or 0.
count() {
    local number
    number=$(sed -n "s/^$1 *\([0-9][0-9]*\).*/\1/p" "$2" 2>/dev/null | tail -n 1)
    echo "${number:-0}"
}

# A failed assertion on megabytes prints them all, twice.
shorten() {
    sed -u -e '500s/.*/... the rest is left out/' -e '501,$d' -e 's/^\(.\{300\}\).*/\1/'
}

# node_tests FILE WHAT: a file that was killed has failed once more.
node_tests() {
    local file=$1 what=$2 tap=$logs/${1##*/}.tap good bad status
    timeout --kill-after=10 "$file_timeout_s" node --test --test-concurrency=1 \
        --test-reporter=spec --test-reporter-destination=stdout \
        --test-reporter=tap --test-reporter-destination="$tap" "$file" 2>&1 | shorten
    status=${PIPESTATUS[0]}
    good=$(count '# pass' "$tap")
    bad=$(($(count '# fail' "$tap") + $(count '# cancelled' "$tap") + $(refused_skips "$tap")))
    pass "$good"
    ((status == 0 || bad > 0)) || bad=1
    ((bad == 0)) || fail "$bad" "$what (exit status $status$(hung_after "$status" "$tap"))"
}

# hung_after STATUS TAP: which test a file that ran out of time was in.
hung_after() {
    (($1 != 124)) || printf ', hung after "%s"' "$(sed -n 's/^ok [0-9]* - //p' "$2" | tail -n 1)"
}

# Skips that no missing feature of the kernel explains.
refused_skips() {
    grep -E '^ *ok .*# SKIP' "$1" 2>/dev/null | grep -cv "# SKIP $kernel_skip"
}
