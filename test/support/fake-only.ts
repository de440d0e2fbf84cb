/** For tests that have fake kernels only: a call that is given none fails, instead of reaching this machine. */
process.env.OVERNS_ADDON = '/dev/null';
