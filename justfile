# Commands of everyday work; https://just.systems

# The workbench, built quickly (the dev profile of Cargo.toml).
run *ARGS:
    cargo run -- {{ARGS}}

# The workbench, fully optimized.
release *ARGS:
    cargo run --release -- {{ARGS}}

# All tests, optimized; or some suites, built quickly: just test screens layers
test *SUITES:
    #!/usr/bin/env sh
    set -eu
    if [ -z "{{SUITES}}" ]; then exec sh scripts/test.sh; fi
    suites=""
    for suite in {{SUITES}}; do suites="$suites --test $suite"; done
    exec cargo test $suites

# The quick subset of the tests.
quick:
    cargo test --lib --test layers --test screens --test twins --test data --test bad_input --test settings

# Format, lints, documentation, licences and all tests, as CI does.
check:
    .ci/run

# Medians of two binaries run in turn: just bench-compare old/danlu target/release/danlu
bench-compare OLD NEW *ARGS:
    scripts/bench-compare {{OLD}} {{NEW}} {{ARGS}}

# The pictures of the README, from two training runs of some minutes (needs tmux).
pictures DANLU="target/release/danlu":
    #!/usr/bin/env sh
    set -eu
    for lang in en zh; do
        folder=$(mktemp -d)
        python3 scripts/picture.py "docs/pictures/workbench.$lang.svg" --seconds 100 \
            --run "$(realpath {{DANLU}}) --lang $lang --adapter cpu --size 1m --run $folder/furnace" \
            --keys 80:i 82:春眠不觉晓， 84:Enter 90:Escape
        rm -r "$folder"
    done
