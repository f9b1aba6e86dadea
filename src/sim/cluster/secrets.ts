/** Cluster secrets of test clusters. */
export const SECRET = 'the secret of test clusters';
/** A second secret that nodes accept, and some prove. */
export const OTHER_SECRET = 'their secret of the day after';
