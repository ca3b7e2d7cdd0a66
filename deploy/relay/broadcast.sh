#!/bin/sh
# Says what the police have said, through ALSA: recordings by aplay, words by espeak-ng. For
#   [relay]
#   broadcast.program = ["/usr/local/lib/huxiao/broadcast.sh"]
# What it is given: crates/relay/src/output.rs, or docs/API.md.
set -eu

volume="${HUXIAO_VOLUME:-80}"

if [ -z "${HUXIAO_FILE:-}" ]; then
    # espeak-ng reads the words from standard input; 100 is its own idea of loud, 200 the most.
    exec espeak-ng -v cmn -a "$((volume * 2))" --stdin
fi

case "${HUXIAO_MEDIA:-${HUXIAO_FILE##*.}}" in
    opus | ogg)
        command -v opusdec > /dev/null || { echo "opusdec (package opus-tools) is not installed" >&2; exit 1; }
        opusdec --quiet "$HUXIAO_FILE" - | aplay -q -
        ;;
    *) exec aplay -q "$HUXIAO_FILE" ;;
esac
