#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What the tool says about its use, and about its misuse: status 2, one sentence, and where to read on.
# shellcheck disable=SC2016,SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"

# wrong TEXT ARGUMENT...: a usage error that says so, and nothing on standard output
wrong() {
    local text=$1
    shift
    status_of 2 "${ferry[@]}" "$@" >out 2>said
    [ ! -s out ] || fail "something on standard output: ferry $*"
    has "$text" said
    [ "$(wc -l <said)" = 1 ] || { echo "more than a sentence: ferry $*"; cat said; return 1; }
    has '--help' said
}

commands=(send recv pub sub tap purge kick lock sem barrier event work call serve ls why route doctor engine
    'cell '{put,get,cas,wait,watch,ls,rm} 'region '{create,cat,put,publish,ls,rm})

every_command_has_help() {
    local command words
    for command in "${commands[@]}" cell region; do
        read -ra words <<<"$command"
        "${ferry[@]}" "${words[@]}" --help >out 2>said
        grep -q "^Usage: ferry $command" out
        has 'Examples:' out
        [ ! -s said ]
        "${ferry[@]}" help "${words[@]}" >again
        same out again
        awk 'length > 110 { exit 1 }' out || fail "a line of the help of $command is too long"
    done
    "${ferry[@]}" --help >out
    grep -q '^Commands:' out
    "${ferry[@]}" help >again
    same out again
}

every_option_of_the_help_is_in_the_manual_page() {
    local pages=$here/../../docs/man command option words
    for command in "${commands[@]}"; do
        read -ra words <<<"$command"
        "${ferry[@]}" "${words[@]}" --help | grep -oE '^ +(-., )?--[a-z-]+' | grep -oE '\-\-[a-z-]+' | sed 's/^--//' >options
        while read -r option; do
            [ "$option" = help ] || grep -qE "^\.It.* Fl Fl $option( |$)|, Fl Fl $option( |$)| Fl Fl $option " \
                "$pages/ferry-${words[0]}.1" "$pages/ferry.1" || fail "ferry-${words[0]}.1 does not tell of --$option"
        done <options
    done
}

the_version_is_told() {
    "${ferry[@]}" --version >out
    grep -Eqx 'ferry [0-9]+\.[0-9]+\.[0-9]+ \(library [0-9]+\.[0-9]+\.[0-9]+\)' out
}

no_command_is_a_usage_error() {
    status_of 2 "${ferry[@]}" >out 2>said
    [ ! -s out ]
    has 'a command is missing' said
    has 'Commands:' said
}

a_mistyped_command_is_recognised() {
    wrong "did you mean 'send'" sned x
    wrong "did you mean 'doctor'" docter
    wrong "there is no command 'fly'" fly
    wrong "there is no command 'fly'" help fly
}

a_mistyped_option_is_recognised() {
    wrong 'did you mean --linger' send --lingre 1s x
    wrong 'there is no option -Z' recv -Z x
    wrong 'there is no option --unheard-of' ls --unheard-of
    wrong 'there is no option --json' send --json x y
    wrong 'there is no option --what' --what send x
    wrong 'the option --space needs a value' --space
}

a_duration_needs_a_unit() {
    wrong "the value '5' of --idle is not a duration" recv --idle 5 x
    wrong 'such as 300ms, 1.5s or 2m' recv --timeout=0 x
    wrong 'is not a duration' recv --timeout -- 5s
    wrong 'is not a duration' send --linger 5parsecs x
    wrong 'is not a duration' send --linger -5s x
    wrong 'is not a duration' send --linger inf x
    wrong '292 years at most' send --linger 99999999999999d x
}

a_size_and_a_count_must_be_one() {
    wrong "the value 'big' of --quota is not a size" send --quota big x
    wrong 'is not a size' send --quota 64XB x
    wrong 'is not a size' send --quota=-1 x
    wrong "the value '1k' of --capacity is not a count" send --capacity 1k x
    wrong 'larger than anything' send --capacity 5000000000 x
    wrong '--count 0 would receive nothing' recv --count 0 x
    wrong '--senders 0 would wait for nobody' recv --senders 0 x
    wrong '--senders 0 would wait for nobody' sub --senders 0 x
}

a_missing_or_superfluous_word_is_told() {
    wrong 'the name of the queue is missing' send
    wrong 'the name of the topic is missing' sub
    wrong "but 'y' was given too" recv x y
    wrong 'needs a value' recv x --idle
    wrong 'takes no value' recv --follow=yes x
    wrong "was given" doctor now
    wrong "is not one of its values (any|back|never)" pub --hold maybe x
}

options_that_contradict_each_other_are_told() {
    wrong 'give them without a channel' route --measure x
    wrong 'give one of the two' route --profile --json
    wrong "but 'y' was given too" route x y
    wrong 'only one of --null, --whole and --framed' send --whole -0 x
    wrong 'give one of them' recv --follow --senders 2 x
    wrong 'files are named by --file: -f report.pdf' send --whole x report.pdf
}

a_command_to_run_is_asked_for() {
    wrong 'the name of the lock is missing' lock
    wrong 'the name of the lock is missing' lock -- ls
    wrong 'the command is missing' lock x
    wrong 'the command is missing' lock x ls
    wrong 'as in `ferry lock x -- ls`' lock x --
    wrong 'the name of the semaphore is missing' sem --count 2 -- ls
    wrong 'the command is missing' sem --count 2 x
    wrong "but 'y' was given too" sem --count 2 x y -- ls
    wrong 'is not a duration' lock --timeout 5 x -- ls
    wrong 'there is no option --timeuot; did you mean --timeout' lock --timeuot 5s x -- ls
}

a_number_of_units_or_parties_is_asked_for() {
    wrong '--count is missing' sem x -- ls
    wrong '--count 0 would let no command run' sem --count 0 x -- ls
    wrong 'is too many' sem --count 4097 x -- ls
    wrong 'is not a count' sem --count two x -- ls
    wrong '--parties is missing' barrier x
    wrong '--parties 0 would wait for nobody' barrier --parties 0 x
    wrong 'is too many' barrier --parties 4097 x
    wrong 'the name of the barrier is missing' barrier --parties 2
    wrong "but 'y' was given too" barrier --parties 2 x y
}

what_to_do_with_an_event_is_asked_for() {
    wrong 'the name of the event is missing' event
    wrong "what to do with 'x' is missing" event x
    wrong "'wiat' is nothing that can be done with an event" event x wiat
    wrong "but 'now' was given too" event x set now
    wrong '--hold is for `set`' event --hold x wait
    wrong '`get` does not wait' event --timeout 1s x get
    wrong 'is not a duration' event --timeout 5 x wait
}

what_to_do_with_a_cell_is_asked_for() {
    wrong 'what to do is missing: give one of put, get, cas, wait, watch, ls, rm' cell
    wrong "there is no action 'gte'; did you mean 'get'" cell gte x
    wrong "there is no action 'fly': give one of put" cell fly x
    wrong 'there is no option --at before what to do' cell --at 3 get x
    wrong 'the name of the cell is missing' cell put
    wrong "'z' is a word too many" cell put x y z
    wrong "'y' is a word too many" cell get x y
    wrong 'the version is missing: `ferry cell get --version-only x` shows it' cell cas x
    wrong "'one' is no version" cell cas x one y
    wrong 'the value is missing' cell cas x 1
    wrong 'only one of --hold and --detach' cell put --hold --detach x y
    wrong '--size is too large' cell put --size 65MiB x y
    wrong 'would hold nothing' cell put --size 0 x y
    wrong 'would hold nothing' cell watch --count 0 x
    wrong 'is too many' cell put --count 1000001 x y
    wrong 'is no index' cell get --at 1000000 x
    wrong 'is not a count' cell get --at -1 x
    wrong 'would show nothing' cell watch --count-of-changes 0 x
    wrong 'there is no option --detach' cell get --detach x
    wrong "but 'y' was given too" cell ls x y
    status_of 2 "${ferry[@]}" cell put --detach a/b x 2>said
    [ -s said ]
    [ ! -e "$FERRY_DIR/$FERRY_SPACE" ]
}

what_to_do_with_a_region_is_asked_for() {
    wrong 'what to do is missing: give one of create, cat, put, publish, ls, rm' region
    wrong "did you mean 'create'" region crate x
    wrong 'the name of the region is missing' region cat
    wrong "'y' is a word too many" region cat x y
    wrong "'z' is a word too many" region put x y z
    wrong '--size or --from is missing' region create --hold x
    wrong 'would hold nothing' region create --hold --size 0 x
    wrong 'would hold nothing' region publish --size 0 x
    wrong 'is too large' region create --hold --size 17TiB x
    wrong '--limit is less than the 1114112 bytes' region create --hold --size 1MiB --limit 1MiB x
    wrong 'only one of --shared and --published' region cat --shared --published x
    wrong 'is not a size' region cat --offset -1 x
    wrong "but 'y' was given too" region ls x y
    status_of 2 "${ferry[@]}" region create --detach --size 1 --type 'a b' x 2>said
    [ -s said ]
    status_of 2 "${ferry[@]}" region create --detach --size 1 a/b 2>said
    [ -s said ]
    [ ! -e "$FERRY_DIR/$FERRY_SPACE" ]
}

what_to_call_or_to_serve_is_asked_for() {
    wrong 'the name of the service is missing' call
    wrong "'z' is a word too many; an argument with blanks needs quotes" call s m x z
    wrong 'the method is missing: `ferry call s` lists those it has' call --raw s
    wrong 'the method is missing' call --one-way s
    wrong 'only one of --null and --framed' call -0 --framed s m
    wrong '--timeout 0s would leave the call no time' call --timeout 0s s m
    wrong 'is not a duration' call --timeout 5 s m
    wrong '--json is for the list of methods' call --json s m
    wrong 'did you mean --wait' call --wiat 5s s m
    wrong 'the name of the service is missing' serve -- wc
    wrong 'the name of the method is missing' serve s -- wc
    wrong 'the command is missing: write it after --, as in `ferry serve s m -- wc -c`' serve s m
    wrong 'the command is missing' serve s m wc
    wrong "'x' is a word too many before --" serve s m x -- wc
    wrong '--jobs 0 would answer nothing' serve -j 0 s m -- wc
    wrong 'is too many; 256 are allowed' serve --jobs 257 s m -- wc
    wrong '--count 0 would answer nothing' serve --count 0 s m -- wc
    wrong '--max must be more than nothing' serve --max 0 s m -- wc
    wrong 'is not a size' serve --max big s m -- wc
    status_of 2 "${ferry[@]}" call a/b m 2>said
    [ -s said ]
    status_of 2 "${ferry[@]}" serve a/b m -- touch ran 2>said
    [ -s said ]
    status_of 2 "${ferry[@]}" serve s 'a method' -- touch ran 2>said
    [ -s said ]
    [ ! -e ran ]
}

options_stand_before_or_after_the_action() {
    "${ferry[@]}" --space elsewhere cell -q put --detach x 1
    [ "$("${ferry[@]}" cell --space elsewhere get x)" = 1 ]
    [ "$("${ferry[@]}" cell get --space elsewhere x)" = 1 ]
    "${ferry[@]}" cell rm x --space elsewhere
}

a_bad_name_is_told() {
    status_of 2 "${ferry[@]}" lock x a/b -- touch ran 2>said
    [ -s said ]
    [ ! -e ran ]
    status_of 2 "${ferry[@]}" send 'a/b' x 2>said
    [ -s said ]
    status_of 2 "${ferry[@]}" recv --space .hidden x 2>said
    [ -s said ]
}

common_options_stand_before_or_after_the_command() {
    "${ferry[@]}" recv --space elsewhere x >out &
    "${ferry[@]}" --space elsewhere send x before
    ended 0 $!
    [ "$(cat out)" = before ]
    mkdir base
    chmod 0700 base
    "${ferry[@]}" --directory="$PWD/base" -q recv x >out &
    "${ferry[@]}" send x after --directory "$PWD/base"
    ended 0 $!
    [ "$(cat out)" = after ]
}

letters_may_be_joined_to_others_and_to_their_value() {
    printf 'a\0b' >in
    "${ferry[@]}" recv -q0n2 x >out &
    "${ferry[@]}" send -q0fin x
    ended 0 $!
    same in out
}

a_directory_that_cannot_be_used_is_told() {
    status_of 125 "${ferry[@]}" --directory /proc/no/such send x y 2>said
    [ -s said ]
    mkdir open
    chmod 0777 open
    status_of 125 "${ferry[@]}" --directory "$PWD/open" send x y 2>said
    has "$PWD/open" said
}

output_that_cannot_be_written_is_told() {
    status_of 125 "${ferry[@]}" --help >/dev/full 2>said
    has 'cannot write to standard output' said
}

test_that "every command has help" every_command_has_help
test_that "every option of the help is in the manual page" every_option_of_the_help_is_in_the_manual_page
test_that "the version is told" the_version_is_told
test_that "no command is a usage error" no_command_is_a_usage_error
test_that "a mistyped command is recognised" a_mistyped_command_is_recognised
test_that "a mistyped option is recognised" a_mistyped_option_is_recognised
test_that "a duration needs a unit" a_duration_needs_a_unit
test_that "a size and a count must be one" a_size_and_a_count_must_be_one
test_that "a missing or superfluous word is told" a_missing_or_superfluous_word_is_told
test_that "options that contradict each other are told" options_that_contradict_each_other_are_told
test_that "a command to run is asked for" a_command_to_run_is_asked_for
test_that "a number of units or parties is asked for" a_number_of_units_or_parties_is_asked_for
test_that "what to do with an event is asked for" what_to_do_with_an_event_is_asked_for
test_that "what to do with a cell is asked for" what_to_do_with_a_cell_is_asked_for
test_that "what to do with a region is asked for" what_to_do_with_a_region_is_asked_for
test_that "what to call or to serve is asked for" what_to_call_or_to_serve_is_asked_for
test_that "options stand before or after the action" options_stand_before_or_after_the_action
test_that "a bad name is told" a_bad_name_is_told
test_that "common options stand before or after the command" common_options_stand_before_or_after_the_command
test_that "letters may be joined to others and to their value" letters_may_be_joined_to_others_and_to_their_value
test_that "a directory that cannot be used is told" a_directory_that_cannot_be_used_is_told
test_that "output that cannot be written is told" output_that_cannot_be_written_is_told
all_done
