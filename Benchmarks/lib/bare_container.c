// SPDX-License-Identifier: Apache-2.0
// What a container costs the kernel: the cgroups, namespaces and mounts of `strata run --rm -m 64m --pids-limit 100 --cpus 1`
// on overlay2 and cgroup v1, by the shortest way there is, with nothing written down, checked or looked up.
// usage: bare_container BASE LOWER: makes its upper directory in BASE; runs LOWER/bin/true and removes what it made.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define DO(call)                                                                                                                 \
    do {                                                                                                                         \
        if ((call) == -1) {                                                                                                      \
            fprintf(stderr, "bare_container: %s: %s\n", #call, strerror(errno));                                                 \
            _exit(125);                                                                                                          \
        }                                                                                                                        \
    } while (0)

static const char *const controllers[] = {"freezer", "devices", "memory", "cpu", "pids"};
static char id[33];

static const char *path(const char *format, const char *first, const char *second)
{
    static char text[4096];
    snprintf(text, sizeof text, format, first, second);
    return text;
}

static const char *cgroup(const char *controller, const char *file)
{
    static char text[4096];
    snprintf(text, sizeof text, "/sys/fs/cgroup/%s/strata-bare/%s/%s", controller, id, file);
    return text;
}

static void set(const char *controller, const char *file, const char *value)
{
    int fd = open(cgroup(controller, file), O_WRONLY | O_CLOEXEC);
    DO(fd);
    DO(write(fd, value, strlen(value)));
    close(fd);
}

static void make_cgroups(void)
{
    for (size_t i = 0; i < COUNT(controllers); i++) {
        mkdir(path("/sys/fs/cgroup/%s/strata-bare%s", controllers[i], ""), 0755);
        DO(mkdir(cgroup(controllers[i], ""), 0755));
    }
    set("memory", "memory.limit_in_bytes", "67108864");
    set("cpu", "cpu.cfs_period_us", "100000");
    set("cpu", "cpu.cfs_quota_us", "100000");
    set("pids", "pids.max", "100");
    set("devices", "devices.deny", "a");
    static const char *const allowed[] = {"c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",  "c 1:8 rwm",
                                          "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm"};
    int fd = open(cgroup("devices", "devices.allow"), O_WRONLY | O_CLOEXEC);
    DO(fd);
    for (size_t i = 0; i < COUNT(allowed); i++) DO(write(fd, allowed[i], strlen(allowed[i])));
    close(fd);
}

static void make_devices(void)
{
    DO(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
    static const struct {
        const char *name;
        int major, minor;
    } nodes[] = {{"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
    umask(0);
    for (size_t i = 0; i < COUNT(nodes); i++) DO(mknod(nodes[i].name, S_IFCHR | 0666, nodes[i].major << 8 | nodes[i].minor));
    DO(symlink("pts/ptmx", "dev/ptmx"));
    DO(symlink("/proc/self/fd", "dev/fd"));
    DO(symlink("/proc/self/fd/0", "dev/stdin"));
    DO(symlink("/proc/self/fd/1", "dev/stdout"));
    DO(symlink("/proc/self/fd/2", "dev/stderr"));
    DO(mkdir("dev/pts", 0755));
    DO(mkdir("dev/shm", 0755));
    DO(mkdir("dev/mqueue", 0755));
    DO(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    DO(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=64m"));
    DO(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
}

static void hide(void)
{
    static const char *const masked[] = {"proc/kcore", "proc/keys", "proc/timer_list"};
    for (size_t i = 0; i < COUNT(masked); i++)
        if (access(masked[i], F_OK) == 0) DO(mount("dev/null", masked[i], NULL, MS_BIND, NULL));
    static const char *const read_only[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    for (size_t i = 0; i < COUNT(read_only); i++) {
        if (access(read_only[i], F_OK) != 0) continue;
        DO(mount(read_only[i], read_only[i], NULL, MS_BIND | MS_REC, NULL));
        DO(mount(NULL, read_only[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
    }
}

static void become(const char *lower, const char *upper, const char *work)
{
    for (size_t i = 0; i < COUNT(controllers); i++) set(controllers[i], "tasks", "0");
    DO(unshare(CLONE_NEWCGROUP));
    DO(sethostname("bare", 4));
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    DO(ioctl(fd, SIOCSIFFLAGS, &loopback));
    close(fd);
    DO(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
    char options[4096];
    snprintf(options, sizeof options, "userxattr,index=off,volatile,lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work);
    DO(mount("overlay", lower, "overlay", 0, options));
    DO(chdir(lower));
    DO(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    make_devices();
    DO(mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    hide();
    DO(syscall(SYS_pivot_root, ".", "."));
    DO(umount2(".", MNT_DETACH));
    DO(chdir("/"));
    char *arguments[] = {"/bin/true", NULL}, *environment[] = {"PATH=/bin", NULL};
    DO(execve(arguments[0], arguments, environment));
}

int main(int count, char **words)
{
    if (count != 3) return 125;
    unsigned char random[16];
    DO(getentropy(random, sizeof random));
    for (size_t i = 0; i < sizeof random; i++) sprintf(id + 2 * i, "%02x", random[i]);
    char *upper = strdup(path("%s/upper-%s", words[1], id)), *work = strdup(path("%s/work-%s", words[1], id));
    DO(mkdir(upper, 0755));
    DO(mkdir(work, 0755));
    make_cgroups();
    struct clone_args arguments = {
        .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
        .exit_signal = SIGCHLD,
    };
    long child = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0) become(words[2], upper, work);
    DO(child);
    int status;
    DO(waitpid(child, &status, 0));
    for (size_t i = 0; i < COUNT(controllers); i++) DO(rmdir(cgroup(controllers[i], "")));
    unlink(path("%s/work/incompat/volatile/dirty%s", work, ""));
    DO(rmdir(path("%s/work/incompat/volatile%s", work, "")));
    DO(rmdir(path("%s/work/incompat%s", work, "")));
    DO(rmdir(path("%s/work%s", work, "")));
    DO(rmdir(work));
    DO(rmdir(upper));
    return status != 0;
}
