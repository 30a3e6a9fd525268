/* Owned command lines: see stages.h. */
#include "base/mem.h"
#include "flow/stages.h"

static void free_list(char **list)
{
    for (char **item = list; item && *item; item++)
        mk_free(*item);
    mk_free(list);
}

void mk_command_free(struct mk_command *command)
{
    if (!command)
        return;
    free_list(command->argv);
    free_list(command->env);
    mk_free(command->cwd);
    mk_free(command->user);
    mk_free(command);
}

void mk_command_spec(const struct mk_command *command, struct mk_process_spec *spec)
{
    *spec = (struct mk_process_spec){
        .argv = (const char *const *)command->argv,
        .env = (const char *const *)command->env,
        .cwd = command->cwd,
        .user = command->user,
        .death_signal = command->death_signal,
        .fd3 = -1,
    };
}
