# Commands of everyday work; https://just.systems

# The workbench, optimized.
run *ARGS:
    cargo run --release -- {{ARGS}}

# All tests, or some suites: just test screens layers
test *SUITES:
    #!/usr/bin/env sh
    set -eu
    if [ -z "{{SUITES}}" ]; then exec sh scripts/test.sh; fi
    suites=""
    for suite in {{SUITES}}; do suites="$suites --test $suite"; done
    exec sh scripts/test.sh $suites

# The quick subset of the tests.
quick:
    sh scripts/test.sh --lib --test layers --test screens --test twins --test data --test bad_input --test settings

# Format, lints, documentation, licences and all tests, as CI does.
check:
    .ci/run

# Medians of two binaries run in turn: just bench-compare old/danlu target/release/danlu
bench-compare OLD NEW *ARGS:
    scripts/bench-compare {{OLD}} {{NEW}} {{ARGS}}
