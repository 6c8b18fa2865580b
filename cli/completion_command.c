/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "proto/rule.h"

/*
 * What the scripts share, in the language that bash and zsh have in common. The
 * lists of commands, fields and actions come from the program's own tables.
 */

static void print_field_words(void)
{
    printf("in= id= priority= onload ip ipv6 arp tcp udp sctp icmp icmp6 tcp6 udp6 sctp6");
    for (unsigned field = 1; field < FIELD_END; field++)
        if (wire_field(field))
            printf(" %s=", wire_field(field)->name);
    printf(" actions=");
    for (unsigned type = 1; type < WIRE_ACTION_END; type++)
        if (wire_action(type))
            printf(" actions=%s%s", wire_action(type)->name, wire_action(type)->kind == VALUE_NONE ? "" : ":");
}

/* First words, or the second words behind 'first'. */
static void print_commands(const char *first)
{
    const char *last = "";

    for (const struct command *command = commands; command->name; command++) {
        const char *space = strchr(command->name, ' ');
        int size = space ? (int)(space - command->name) : (int)strlen(command->name);

        if (first && space && !strncmp(command->name, first, size) && !first[size])
            printf("%s ", space + 1);
        if (!first && strncmp(last, command->name, size))
            printf("%.*s ", size, command->name);
        last = command->name;
    }
}

static void print_functions(void)
{
    printf("_vnode_ports() { vnode port list 2>/dev/null | awk 'NR > 1 { print $1 }'; }\n"
           "_vnode_slices() { vnode slice list 2>/dev/null | awk 'NR > 1 { print $1 }'; }\n"
           "_vnode_deployed() { vnode list 2>/dev/null | awk 'NR > 1 { print $1 }'; }\n"
           "_vnode_nodes() { local slice; for slice in $(_vnode_deployed); do\n"
           "    vnode inspect $slice 2>/dev/null | awk -v slice=$slice 'NR > 4 && /^[^ ]/ { print slice \":\" $1 }'; done; }\n"
           "_vnode_files() { ls -d -- *.vn.yml 2>/dev/null; }\n"
           "_vnode_flows() { vnode flows 2>/dev/null | awk 'NR > 1 { print $1 }'; }\n"
           "# The candidates for the word behind those given.\n"
           "_vnode_words() {\n"
           "    case \"$1 $2\" in\n"
           "    ' '*) echo '");
    print_commands(NULL);
    printf("--manager --socket --format --help' ;;\n"
           "    'port ') echo '");
    print_commands("port");
    printf("' ;;\n"
           "    'offload ') echo '");
    print_commands("offload");
    printf("' ;;\n"
           "    'slice ') echo '");
    print_commands("slice");
    printf("' ;;\n"
           "    'rule ') echo '");
    print_commands("rule");
    printf(
        "' ;;\n"
        "    'port add') echo 'vhost= dpdk= queues= mtu= slice= server=1' ;;\n"
        "    'port set') _vnode_ports; echo 'rate= burst= rate_out= burst_out=' ;;\n"
        "    'port del' | 'port show' | 'stats '* | 'capture ') _vnode_ports ;;\n"
        "    'capture '*) echo '-w -s -c' ;;\n"
        "    'rule add' | 'trace '*) _vnode_ports | sed 's/^/in=/'; _vnode_ports | sed 's/^/actions=output:/'; echo '-f ");
    print_field_words();
    printf(
        "' ;;\n"
        "    'flows '*) echo '--offloaded --onload --slice --port --watch --ovs'; _vnode_ports; _vnode_slices ;;\n"
        "    'offload on' | 'offload off') echo '--slice --port --rule promote= demote= hold='; _vnode_ports; _vnode_slices ;;\n"
        "    'offload auto' | 'offload inherit') echo '--slice --port promote= demote= hold='; _vnode_ports; _vnode_slices ;;\n"
        "    'offload set') echo '--slice --port promote= demote= hold= table= moves= orphans='; _vnode_ports; _vnode_slices ;;\n"
        "    'offload pin' | 'offload unpin' | 'offload why') _vnode_flows ;;\n"
        "    'slice set') echo 'rules= masks= operations='; _vnode_slices ;;\n"
        "    'rule del') echo '--port --all'; _vnode_ports ;;\n"
        "    'rule list') echo '--port'; _vnode_ports ;;\n"
        "    'fastpath ') echo 'stop' ;;\n"
        "    'deploy '*) echo '-t --dry-run --reserve'; _vnode_files ;;\n"
        "    'plan '*) echo '-t'; _vnode_files ;;\n"
        "    'destroy '* | 'inspect '*) echo '-t --slice'; _vnode_deployed; _vnode_files ;;\n"
        "    'start '* | 'stop '* | 'restart '* | 'exec '*) echo '-t --slice'; _vnode_nodes; _vnode_files ;;\n"
        "    'console '*) echo '-t --slice --log'; _vnode_nodes; _vnode_files ;;\n"
        "    'validate '* | 'graph '*) _vnode_files ;;\n"
        "    'events '*) echo '--follow --slice'; _vnode_deployed ;;\n"
        "    'eval '*) echo '--quick --guests --json --output --numbers --ports --paths --directions --mtus --seconds --rounds' ;;\n"
        "    'completion '*) echo 'bash zsh' ;;\n"
        "    esac\n"
        "}\n");
}

int command_completion(struct cli *cli, int argc, char **argv)
{
    if (argc != 1 || (strcmp(argv[0], "bash") && strcmp(argv[0], "zsh")))
        return cli_usage(cli);
    if (!strcmp(argv[0], "bash")) {
        puts("# bash completion for vnode: source it, or put it into /usr/share/bash-completion/completions/vnode");
        print_functions();
        puts("_vnode() {\n"
             "    local word=${COMP_LINE:0:COMP_POINT}\n"
             "    word=${word##* }\n"
             "    local words=() i\n"
             "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
             "        [[ ${COMP_WORDS[i]} == [a-z]* ]] && words+=(\"${COMP_WORDS[i]}\")\n"
             "    done\n"
             "    case $3 in --format) COMPREPLY=($(compgen -W 'table json' -- \"$2\")); return ;; esac\n"
             "    COMPREPLY=($(compgen -W \"$(_vnode_words \"${words[0]}\" \"${words[1]}\")\" -- \"$word\"))\n"
             "    # bash takes a word apart at '=' and ':', and wants the last part only.\n"
             "    local before=${word%\"${word##*[=:]}\"}\n"
             "    COMPREPLY=(\"${COMPREPLY[@]#\"$before\"}\")\n"
             "    [[ ${COMPREPLY[0]} == *[=:] ]] && compopt -o nospace\n"
             "}\n"
             "complete -F _vnode -o default vnode");
    } else {
        puts("#compdef vnode\n# zsh completion for vnode: put it into a file _vnode in a directory of $fpath");
        print_functions();
        puts("_vnode() {\n"
             "    local -a words_before candidates\n"
             "    words_before=(${(M)words[2,CURRENT-1]:#[a-z]*})\n"
             "    candidates=(${=\"$(_vnode_words \"$words_before[1]\" \"$words_before[2]\")\"})\n"
             "    compadd -S '' -- ${(M)candidates:#*[=:]}\n"
             "    compadd -- ${candidates:#*[=:]}\n"
             "    _files\n"
             "}\n"
             "if [ \"$funcstack[1]\" = _vnode ]; then _vnode \"$@\"; else compdef _vnode vnode; fi");
    }
    return EXIT_OK;
}
