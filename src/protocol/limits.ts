/** What no configuration may exceed: other limits follow from it, the same on all nodes. */
export const MAX_REQUEST_BYTES = 256 * 1024 * 1024;
