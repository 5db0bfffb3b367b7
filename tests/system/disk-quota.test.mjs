// Disks with quotas of the file system that the state directory is on, for each that this kernel offers.
import { describe, test } from 'node:test';
import { MKFS, quotaFileSystem, suite } from './disk-suite.mjs';

for (const type of Object.keys(MKFS)) {
    const kind = type === 'btrfs' ? 'btrfs' : 'project';
    const place = quotaFileSystem(type);
    if (place.missing) test(`${kind}, on ${type} with quotas`, (t) => t.skip(place.missing));
    else describe(`${kind}, on ${type} with quotas`, () => suite(kind, () => place));
}
