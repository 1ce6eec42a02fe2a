#!/bin/sh
# Whether the daemon answers. Without its socket nobody is asked: the command would open the store itself
# then, and be in the way of the daemon that is about to.
[ -S "$QUIPU_STORE/socket" ] && exec quipu status >/dev/null
