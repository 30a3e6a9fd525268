/* Durable files and folders: see file.h. Modes are set with fchmod, so the umask has no say. */
#include "loop/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* The folder part of a path, "." if there is none. mk_free it. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mk_strdup(".");
    size_t len = slash == path ? 1 : (size_t)(slash - path);
    char *folder = mk_alloc(len + 1);
    if (folder) {
        memcpy(folder, path, len);
        folder[len] = '\0';
    }
    return folder;
}

char *mk_file_piece(const char *path, unsigned number)
{
    size_t size = strlen(path) + 12;
    char *name = mk_alloc(size);
    if (name)
        snprintf(name, size, number > 1 ? "%s.%u" : "%s", path, number);
    return name;
}

int mk_file_create_partial(const char *path, mode_t mode, char **partial, struct mk_error *err)
{
    static atomic_uint counter;
    const char *slash = strrchr(path, '/');
    int folder_len = slash ? (int)(slash - path) + 1 : 0;
    size_t size = strlen(path) + 48;
    char *name = mk_alloc(size);
    if (!name) {
        mk_error_nomem(err, "file");
        return MK_ENOMEM;
    }
    int fd;
    do { /* a name that exists was left by a dead process of the same pid */
        snprintf(name, size, "%.*s.%s.%d-%u.partial", folder_len, path, path + folder_len,
                 (int)getpid(), atomic_fetch_add(&counter, 1));
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    } while (fd < 0 && errno == EEXIST);
    if (fd >= 0 && fchmod(fd, mode) == 0) {
        *partial = name;
        return fd;
    }
    int status = mk_error_errno(err, errno, "file", "could not create %s", path);
    if (fd >= 0) {
        close(fd);
        unlink(name);
    }
    mk_free(name);
    return status < 0 ? status : MK_ESYS;
}

/* Opens a folder, to be synced later. Returns the descriptor, or a negative MK_E*. */
static int open_dir(const char *path, struct mk_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : mk_error_errno(err, errno, "sync", "could not open folder %s", path);
}

static int open_folder_of(const char *path, struct mk_error *err)
{
    char *folder = folder_of(path);
    if (!folder)
        return mk_error_nomem(err, "file");
    int fd = open_dir(folder, err);
    mk_free(folder);
    return fd;
}

/* Takes the descriptor over. */
static int sync_and_close(int fd, const char *what, struct mk_error *err)
{
    int status = MK_OK;
    /* Some network file systems refuse to sync a folder: they have their own rules. */
    if (fsync(fd) != 0 && errno != EINVAL)
        status = mk_error_errno(err, errno, "sync", "could not sync the folder of %s", what);
    close(fd);
    return status;
}

int mk_file_sync_dir(const char *path, struct mk_error *err)
{
    int fd = open_dir(path, err);
    return fd < 0 ? fd : sync_and_close(fd, path, err);
}

static int sync_folder_of(const char *path, struct mk_error *err)
{
    int fd = open_folder_of(path, err);
    return fd < 0 ? fd : sync_and_close(fd, path, err);
}

/* rename that fails if `to` exists; by link where the file system lacks RENAME_NOREPLACE. */
static int rename_exclusive(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (link(from, to) != 0)
        return -1;
    if (unlink(from) == 0)
        return 0;
    int errnum = errno;
    unlink(to);
    errno = errnum;
    return -1;
}

int mk_file_publish(const char *from, const char *to, bool exclusive, struct mk_error *err)
{
    int folder = open_folder_of(to, err); /* what can fail comes before the rename */
    if (folder < 0)
        return folder;
    int result = exclusive ? rename_exclusive(from, to) : rename(from, to);
    if (result != 0) {
        int status = mk_error_errno(err, errno, "publish", "could not publish %s", to);
        close(folder);
        return status;
    }
    int status = sync_and_close(folder, to, err);
    if (status != MK_OK && exclusive)
        unlink(to); /* it is ours, and it may not last */
    return status;
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

int mk_file_write(const char *path, const void *bytes, size_t len, mode_t mode, bool exclusive,
                  struct mk_error *err)
{
    char *partial = NULL;
    int fd = mk_file_create_partial(path, mode, &partial, err);
    if (fd < 0)
        return fd;
    int status = MK_OK;
    if (write_all(fd, bytes, len) != 0 || fsync(fd) != 0)
        status = mk_error_errno(err, errno, "write", "could not write %s", path);
    if (close(fd) != 0 && status == MK_OK)
        status = mk_error_errno(err, errno, "write", "could not close %s", path);
    if (status == MK_OK)
        status = mk_file_publish(partial, path, exclusive, err);
    if (status != MK_OK)
        unlink(partial);
    mk_free(partial);
    return status;
}

int mk_file_read(const char *path, size_t max_bytes, char **bytes, size_t *len,
                 struct mk_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold the thread */
    if (fd < 0)
        return mk_error_errno(err, errno, "read", "could not open %s", path);
    size_t used = 0, cap = 4096;
    char *buffer = mk_alloc(cap);
    if (!buffer) {
        close(fd);
        return mk_error_nomem(err, "read");
    }
    int status = MK_OK;
    while (status == MK_OK) {
        if (used + 1 == cap) {
            cap *= 2;
            char *larger = mk_realloc(buffer, cap);
            if (!larger) {
                status = mk_error_nomem(err, "read");
                break;
            }
            buffer = larger;
        }
        ssize_t n = read(fd, buffer + used, cap - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = mk_error_errno(err, errno, "read", "could not read %s", path);
        if (n <= 0)
            break;
        used += (size_t)n;
        if (used > max_bytes) {
            status = mk_error_set(err, MK_EINVAL, "read", "%s is larger than %zu bytes", path,
                                  max_bytes);
            break;
        }
    }
    close(fd);
    if (status != MK_OK) {
        mk_free(buffer);
        return status;
    }
    buffer[used] = '\0';
    *bytes = buffer;
    *len = used;
    return MK_OK;
}

static int make_one_dir(const char *path, mode_t mode, struct mk_error *err)
{
    if (mkdir(path, mode) == 0) {
        if (chmod(path, mode) != 0)
            return mk_error_errno(err, errno, "mkdir", "could not set the mode of %s", path);
        return sync_folder_of(path, err);
    }
    int errnum = errno;
    struct stat st;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return MK_OK;
        errnum = ENOTDIR;
    }
    return mk_error_errno(err, errnum, "mkdir", "could not create folder %s", path);
}

int mk_file_make_dirs(const char *path, mode_t mode, struct mk_error *err)
{
    char *copy = mk_strdup(path);
    if (!copy)
        return mk_error_nomem(err, "mkdir");
    int status = MK_OK;
    for (char *p = copy; status == MK_OK && *p; p++) {
        if (*p != '/' || p == copy)
            continue;
        *p = '\0';
        status = make_one_dir(copy, mode, err);
        *p = '/';
    }
    if (status == MK_OK)
        status = make_one_dir(copy, mode, err);
    mk_free(copy);
    return status;
}

static int remove_entries(int dir_fd, const char *shown, struct mk_error *err);

/* Removes one entry of a folder, whatever it is; links are removed, never followed. */
static int remove_entry(int dir_fd, const char *name, const char *shown, struct mk_error *err)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return MK_OK;
    if (errno == EISDIR || errno == EPERM || errno == EACCES) {
        int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0) {
            int status = remove_entries(fd, shown, err);
            close(fd);
            if (status != MK_OK)
                return status;
            if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
                return MK_OK;
        }
    }
    return mk_error_errno(err, errno, "remove", "could not remove %s (in %s)", name, shown);
}

static int remove_entries(int dir_fd, const char *shown, struct mk_error *err)
{
    int copy = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (!dir) {
        int status = mk_error_errno(err, errno, "remove", "could not list %s", shown);
        if (copy >= 0)
            close(copy);
        return status;
    }
    int status = MK_OK;
    for (struct dirent *entry; status == MK_OK && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = remove_entry(dir_fd, entry->d_name, shown, err);
    }
    closedir(dir);
    return status;
}

int mk_file_remove_tree(const char *path, struct mk_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        int status = remove_entries(fd, path, err);
        close(fd);
        if (status != MK_OK)
            return status;
        if (rmdir(path) == 0 || errno == ENOENT)
            return MK_OK;
    } else if (errno == ENOENT || unlink(path) == 0) {
        return MK_OK;
    }
    return mk_error_errno(err, errno, "remove", "could not remove %s", path);
}
