// Debian's Chromium, headless, with a profile of its own that is removed at the end.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

// `options`: more for Playwright's launchPersistentContext.
export async function openBrowser(options = {}) {
    const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'auracode-chromium.'));
    const context = await chromium.launchPersistentContext(profile, {
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
        headless: true,
        ...options,
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
            '--disable-component-update', '--disable-sync'],
    });
    return {
        context,
        close: async () => {
            await context.close();
            fs.rmSync(profile, { recursive: true, force: true });
        },
    };
}
