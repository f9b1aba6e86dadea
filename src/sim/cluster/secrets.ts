/** Cluster secrets of test clusters. */
export const SECRET = 'the secret of test clusters';
/** Accepted, and here and there proven, in its place. */
export const OTHER_SECRET = 'their secret of the day after';
