// The first process of the machine in bochs.sh: runs /program and says how it ended.
#include <stdio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

int main(int count, char** words) {
    (void)count;
    int status = 0;
    words[0] = "/program";
    if (fork() == 0) {
        execv(words[0], words);
        _exit(127);
    }
    while (wait(&status) < 0) continue;
    printf("\nended with status %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    fflush(stdout);
    tcdrain(1);
    for (;;) pause();  // a first process that ends stops the kernel, which then prints nothing more
}
