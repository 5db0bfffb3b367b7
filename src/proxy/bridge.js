// The bridge of AuraCode's previews: what goes wrong in this page is told to the API, so that whoever wrote the page
// hears of it. Inserted before all scripts of the page, by the proxy; `[proxy] bridge = no` turns it off.
//
// It must not change the page: every function of the page's that it stands before is called in its place with the same
// arguments, whatever happens here is caught, and it leaves neither a name nor an element behind. It must not talk much
// either: a report is told once, at most 50 in the life of a page and 10 a second, and one that fails is not reported.
(() => {
    'use strict';
    const MOST = 50, PER_SECOND = 10, PAUSE_MS = 100;
    const TEXT = 4096, STACK = 8192, URL_LENGTH = 2048; // characters; the proxy cuts by bytes
    const REPORT_BYTES = 24000, BATCH_BYTES = 48000; // the proxy takes 65536
    const VALUES = 500; // of an object that is logged
    const mark = Symbol.for('auracode.bridge');
    const script = document.currentScript;
    script?.remove(); // or a framework that finds it where it has rendered none would complain
    if (window[mark] || !script)
        return;
    Object.defineProperty(window, mark, { value: true });

    const target = script.src.split('?')[0];
    const { fetch, XMLHttpRequest, MutationObserver, TextEncoder, setTimeout } = window;
    const now = Date.now;
    const seen = new Set();
    let queue = [], sent = 0, second = 0, inSecond = 0, timer = false;

    const guarded = (work) => {
        try {
            return work();
        } catch {
            return undefined;
        }
    };
    // Halves of characters, which cutting leaves as well, are none that JSON could carry.
    const clip = (value, most) => String(value).slice(0, most).replaceAll('\0', ' ').replaceAll(/\p{Surrogate}/gu, '\ufffd');
    const number = (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 31 ? value : undefined;

    // ---- telling

    const send = () => guarded(() => {
        timer = false;
        if (queue.length === 0)
            return;
        const body = JSON.stringify({ reports: queue });
        queue = [];
        fetch.call(window, target, { method: 'POST', body, headers: { 'Content-Type': 'application/json' },
            credentials: 'same-origin', keepalive: true }).catch(() => {});
    });

    const mayTell = (key) => {
        const current = Math.floor(now() / 1000);
        if (current !== second)
            [second, inSecond] = [current, 0];
        if (seen.has(key) || sent >= MOST || inSecond >= PER_SECOND)
            return false;
        seen.add(key);
        sent++;
        inSecond++;
        return true;
    };

    const bytes = (value) => new TextEncoder().encode(JSON.stringify(value)).length;
    const tell = (report) => guarded(() => {
        const limits = { message: TEXT, frame: TEXT, stack: STACK, source: URL_LENGTH, url: URL_LENGTH };
        for (const [name, most] of Object.entries(limits))
            report[name] = report[name] ? clip(report[name], most) : undefined;
        for (const name of ['line', 'column', 'status'])
            report[name] = number(report[name]);
        report.message ??= '';
        if (!mayTell(JSON.stringify(report)))
            return;
        report.page = clip(location.href, URL_LENGTH);
        if (bytes(report) > REPORT_BYTES)
            report.stack = report.frame = undefined;
        if (bytes([...queue, report]) > BATCH_BYTES)
            send();
        queue.push(report);
        if (!timer)
            timer = Boolean(setTimeout(send, PAUSE_MS));
    });

    // ---- values that were thrown or logged

    // Some are endless, or too large to be gone through in a page's time.
    const bounded = () => {
        let left = VALUES;
        return (_, value) => {
            if (left-- === 0)
                throw new RangeError('too large');
            return value;
        };
    };
    const describe = (value) => guarded(() => {
        if (value instanceof Error)
            return `${value.name}: ${value.message}`;
        if (typeof value !== 'object' || value === null)
            return String(value);
        return JSON.stringify(value, bounded()) ?? String(value);
    }) ?? guarded(() => Object.prototype.toString.call(value)) ?? '(a value that cannot be shown)';
    const stackOf = (value) => guarded(() => typeof value?.stack === 'string' ? value.stack : undefined);

    // console.error('%s in %d', ...): the arguments take the places in the first one.
    const format = (values) => {
        const rest = [...values];
        if (typeof rest[0] !== 'string')
            return rest.map(describe).join(' ');
        const text = rest.shift().replaceAll(/%[sdifoOc%]/g, (place) => {
            if (place === '%%' || rest.length === 0)
                return place === '%%' ? '%' : place;
            const value = rest.shift();
            return place === '%c' ? '' : describe(value);
        });
        return [text, ...rest.map(describe)].join(' ');
    };

    // ---- what is watched

    addEventListener('error', (event) => guarded(() => {
        const element = event.target;
        if (event instanceof ErrorEvent) {
            tell({ kind: 'error', message: event.message || describe(event.error), source: event.filename,
                line: event.lineno, column: event.colno, stack: stackOf(event.error) });
        } else if (element instanceof Element) {
            const url = element.src || element.href || element.currentSrc;
            tell({ kind: 'resource', message: `<${element.localName}> did not load`, url });
        }
    }), true);

    addEventListener('unhandledrejection', (event) => guarded(() => tell({ kind: 'rejection',
        message: describe(event.reason), stack: stackOf(event.reason) })));

    const logError = console.error;
    console.error = function error(...values) {
        guarded(() => tell({ kind: 'console', message: format(values), stack: stackOf(values.find((value) => stackOf(value))) }));
        return logError.apply(this, values);
    };

    const requestFailed = (method, url, status, cause) => tell({ kind: 'request', status, url,
        message: status ? `${method} was answered with ${status}` : `${method} failed: ${cause}` });
    const fails = (status) => status >= 400;

    // A request that the page itself has given up is no failure. What is returned is what comes after our handlers, so
    // that a rejection that the page leaves unhandled stays one.
    if (fetch) {
        window.fetch = function (...values) {
            const [input, options] = values;
            const report = (status, cause) => guarded(() => requestFailed(
                String(options?.method ?? input?.method ?? 'GET').toUpperCase(),
                guarded(() => new URL(input?.url ?? input, document.baseURI).href) ?? String(input), status, describe(cause)));
            return fetch.apply(this, values).then((answer) => {
                if (fails(answer.status))
                    report(answer.status);
                return answer;
            }, (cause) => {
                if (cause?.name !== 'AbortError')
                    report(0, cause);
                throw cause;
            });
        };
    }

    if (XMLHttpRequest) {
        const { open } = XMLHttpRequest.prototype;
        const opened = new WeakMap();
        XMLHttpRequest.prototype.open = function (...values) {
            guarded(() => {
                const first = !opened.has(this);
                opened.set(this, [String(values[0]).toUpperCase(), guarded(() => new URL(values[1], document.baseURI).href)]);
                if (!first)
                    return;
                this.addEventListener('load', () => guarded(() => fails(this.status) && requestFailed(...opened.get(this), this.status)));
                this.addEventListener('error', () => guarded(() => requestFailed(...opened.get(this), 0, 'network error')));
            });
            return open.apply(this, values);
        };
    }

    // ---- error overlays of dev servers: elements whose shadow tree, or frame, holds the text

    const textIn = (root, ...selectors) => {
        for (const selector of selectors) {
            const text = root?.querySelector(selector)?.textContent.trim();
            if (text)
                return text;
        }
        return undefined;
    };
    // FILE:LINE:COLUMN, FILE (LINE:COLUMN), or FILE alone where the message says the rest, as Vite's of its own parser do.
    const placeOf = (message, file) => {
        const whole = /^(.*?)(?::| \()(\d+)(?::(\d+))?\)?$/.exec(file);
        if (whole)
            return whole.slice(1);
        const name = `${file.split('/').at(-1)}:`, at = message.indexOf(name);
        const numbers = at < 0 ? undefined : /^(\d+):(\d+)/.exec(message.slice(at + name.length, at + name.length + 32));
        return [file, numbers?.[1], numbers?.[2]];
    };
    const tellOverlay = (message, file, rest = {}) => {
        const [source, line, column] = file ? placeOf(message, file) : [];
        tell({ kind: 'overlay', message, source, line: Number(line), column: Number(column), ...rest });
        return true;
    };
    const overlays = {
        'vite-error-overlay': ({ shadowRoot }) => {
            const message = textIn(shadowRoot, '.message-body', '.message');
            return message && tellOverlay(message, textIn(shadowRoot, '.file'),
                { frame: textIn(shadowRoot, '.frame'), stack: textIn(shadowRoot, '.stack') });
        },
        'nextjs-portal': ({ shadowRoot }) => {
            const message = textIn(shadowRoot, '#nextjs__container_errors_desc', '[data-nextjs-error-overlay] p',
                '[data-nextjs-dialog-body] [data-nextjs-terminal]', '[data-nextjs-terminal]');
            return message && tellOverlay(message, textIn(shadowRoot, '[data-nextjs-codeframe] [data-text]', '[data-nextjs-codeframe] p'),
                { frame: textIn(shadowRoot, '[data-nextjs-codeframe] pre') });
        },
        '#webpack-dev-server-client-overlay': ({ contentDocument }) => {
            const message = textIn(contentDocument, '#webpack-dev-server-client-overlay-div > div:last-child', 'body');
            return message && tellOverlay(message);
        },
    };

    // What an overlay says may come after its element, and may change; what was said is not said again.
    const LOOKS = [0, 50, 250, 1000];
    const looking = new WeakSet();
    const look = (element, read) => {
        if (looking.has(element))
            return;
        looking.add(element);
        for (const pause of LOOKS)
            setTimeout(() => guarded(() => read(element)), pause);
        setTimeout(() => looking.delete(element), LOOKS.at(-1));
    };
    const found = new WeakSet();
    const follow = (element, read) => {
        if (found.has(element))
            return;
        found.add(element);
        look(element, read);
        if (element.shadowRoot)
            new MutationObserver(() => look(element, read)).observe(element.shadowRoot, { childList: true, subtree: true });
    };
    // They hang below <html> or <body>, Next's in an element of its own there.
    const parents = 'body, script[data-nextjs-dev-overlay]';
    const watch = new MutationObserver((records) => guarded(() => {
        for (const { addedNodes } of records)
            for (const node of addedNodes) {
                if (!(node instanceof Element))
                    continue;
                if (node.matches(parents))
                    watch.observe(node, { childList: true });
                for (const [selector, read] of Object.entries(overlays))
                    for (const element of node.matches(parents) ? node.querySelectorAll(selector) : [node])
                        if (element.matches(selector))
                            follow(element, read);
            }
    }));
    watch.observe(document.documentElement, { childList: true });

    addEventListener('pagehide', send);
})();
