// SPDX-License-Identifier: Apache-2.0

extension Program {
    /// Walks the words before the cursor.
    ///
    /// It sets `verb`, `argument` (how many arguments the verb has so far), `found` (the verb is complete) and `value`
    /// (what kind of value the word at the cursor is).
    private var walk: String {
        """
            local verb="" value="" word="" argument=0 found=""
            while [ "$index" -lt "$current" ]; do
                word=${words[index]}
                index=$((index + 1))
                case $word in
                --*=*) ;;
                -*)
                    if value=$(_\(name)_value "$verb" "$word"); then
                        [ "$index" -ge "$current" ] && break
                        index=$((index + 1))
                    fi
                    value="" ;;
                *)
                    if [ -n "$found" ]; then
                        argument=$((argument + 1))
                    else
                        verb="${verb:+$verb }$word"
                        [ -n "$(_\(name)_verbs "$verb")" ] || found=1
                        word=$(_\(name)_alias "$verb")
                        [ -z "$word" ] || verb=$word
                    fi ;;
                esac
            done

        """
    }

    /// Prints what fits at the cursor, once `walk` has run: a list of words, or the kind `file` or `directory`.
    private var choose: String {
        """
            local kind="" line=""
            if [ -n "$value" ]; then
                kind=$value
            elif [ "${cur#-}" != "$cur" ]; then
                kind=options
            elif [ -z "$found" ]; then
                kind=verbs
            else
                for line in $(_\(name)_arguments "$verb"); do
                    kind=$line
                    [ "$argument" -eq 0 ] && break
                    argument=$((argument - 1))
                done
            fi

        """
    }

    var bashDriver: String {
        """
        _\(name)() {
            local cur=${COMP_WORDS[COMP_CWORD]} index=0 current=0
            local -a words=()
            # bash splits words at '=': put --flag=value together again
            while [ "$index" -lt "$COMP_CWORD" ]; do
                if [ "${COMP_WORDS[index]}" = "=" ] && [ "$current" -gt 0 ]; then
                    words[current - 1]+="=${COMP_WORDS[index + 1]}"
                    index=$((index + 1))
                else
                    words[current]=${COMP_WORDS[index]}
                    current=$((current + 1))
                fi
                index=$((index + 1))
            done
            index=1
            COMPREPLY=()
        \(walk)\(choose)    local IFS=$'\\n'
            case $kind in
            file) COMPREPLY=($(compgen -f -- "$cur")); compopt -o filenames 2>/dev/null ;;
            directory) COMPREPLY=($(compgen -d -- "$cur")); compopt -o filenames 2>/dev/null ;;
            options | verbs) COMPREPLY=($(compgen -W "$(_\(name)_$kind "$verb" | cut -f1)" -- "$cur")) ;;
            ?*) COMPREPLY=($(compgen -W "$(_\(name)_offer "$kind" | cut -f1)" -- "$cur")) ;;
            esac
        }

        complete -F _\(name) \(name)

        """
    }

    var zshDriver: String {
        """
        _\(name)() {
            emulate -L zsh
            setopt shwordsplit
            local cur=${words[CURRENT]} index=2 current=$CURRENT
        \(walk)\(choose)    local -a offered
            case $kind in
            file) _files; return ;;
            directory) _files -/; return ;;
            options | verbs) offered=(${(f)"$(_\(name)_$kind "$verb")"}) ;;
            ?*) offered=(${(f)"$(_\(name)_offer "$kind")"}) ;;
            esac
            offered=("${(@)offered//:/\\\\:}")
            offered=("${(@)offered/$'\\t'/:}")
            _describe -t words '\(name)' offered
        }

        if [ "$funcstack[1]" = "_\(name)" ]; then
            _\(name) "$@"
        else
            compdef _\(name) \(name)
        fi

        """
    }

    var fishScript: String {
        var text = """
            # fish completion for \(name)

            # Succeeds when the words before the cursor, flags and the values of global flags left out, begin with
            # the given ones and, after -only, hold nothing else.
            function __\(name)_at
                set -l words
                set -l skip 1
                for word in (commandline -opc)
                    if test $skip -eq 1
                        set skip 0
                    else if contains -- $word \(valueFlags)
                        set skip 1
                    else if not string match -q -- '-*' $word
                        set -a words $word
                    end
                end
                test "$argv[1]" = -only; and set -l only 1; and set -e argv[1]
                set -l wanted (count $argv)
                set -l have (count $words)
                test $have -ge $wanted; or return 1
                set -q only; and test $have -ne $wanted; and return 1
                test $wanted -eq 0; or test "$words[1..$wanted]" = "$argv"
            end

            complete -c \(name) -f

            """
        let prefix = "complete -c \(name) -n "
        for flag in flags where !flag.hidden { text += prefix + quoted("__\(name)_at -only") + fish(flag) }
        for (word, summary) in fishTop {
            text += prefix + quoted("__\(name)_at -only") + " -a \(quoted(word)) -d \(quoted(summary))\n"
        }
        for group in shownGroups {
            for (word, entry) in members(of: group) {
                text += prefix + quoted("__\(name)_at -only \(group.name)")
                text += " -a \(quoted(word)) -d \(quoted(entry.declaration.summary))\n"
            }
        }
        for entry in listed {
            for path in [entry.name] + entry.aliases { text += fish(entry.declaration, path, prefix) }
        }
        return text
    }

    /// The global flags whose value is a word of its own.
    private var valueFlags: String {
        let valued = flags.filter { $0.kind != .bool }
        return (valued.map { "--\($0.name)" } + valued.compactMap { $0.short.map { "-\($0)" } }).joined(
            separator: " "
        )
    }

    private var fishTop: [(String, String)] {
        listed.filter { !$0.name.contains(" ") }.map { ($0.name, $0.declaration.summary) }
            + shownGroups.map { ($0.name, $0.summary) }
    }

    private func fish(_ declaration: VerbDeclaration, _ path: String, _ prefix: String) -> String {
        let condition = quoted("__\(name)_at \(path)")
        var text = ""
        for flag in declaration.flags where !flag.hidden { text += prefix + condition + fish(flag) }
        var kinds: [Completion] = []
        for kind in declaration.completes where !kinds.contains(kind) {
            kinds.append(kind)
            guard let words = fishWords(kind) else { continue }
            text += prefix + condition + words + "\n"
        }
        return text
    }

    private func fish(_ flag: Flag) -> String {
        var text = " -l \(flag.name)"
        if let short = flag.short { text += " -s \(short)" }
        if flag.kind != .bool {
            text += flag.completes == .file ? " -r" : " -x"
            let words = flag.values.isEmpty ? nil : " -a " + quoted(flag.values.joined(separator: " "))
            text += words ?? fishWords(flag.completes) ?? ""
        }
        return text + " -d \(quoted(flag.firstLine))\n"
    }

    private func fishWords(_ kind: Completion) -> String? {
        switch kind {
        case .nothing: nil
        case .file: " -F"
        case .directory: " -a '(__fish_complete_directories)'"
        case .container: " -a \"(\(name) ps --all --format '{{.Names}}' 2>/dev/null)\""
        case .runningContainer: " -a \"(\(name) ps --format '{{.Names}}' 2>/dev/null)\""
        case .image: " -a \"(\(name) images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null)\""
        case .containerOrImage:
            " -a \"(\(name) ps --all --format '{{.Names}}' 2>/dev/null; "
                + "\(name) images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null)\""
        case .layer: " -a \"(\(name) layer ls --quiet 2>/dev/null)\""
        case .driver: " -a \"(\(name) driver ls --format '{{.Name}}' 2>/dev/null)\""
        case .verb: " -a " + quoted(fishTop.map(\.0).joined(separator: " "))
        case .shell: " -a 'bash fish zsh'"
        }
    }
}
