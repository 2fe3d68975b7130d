/* Ansible's Python in a machine of the lab: the system's own, with lab-populate.so. Nothing else is to be slowed down. */
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argc;
    setenv("LD_PRELOAD", "/usr/local/lib/lab-populate.so", 1);
    argv[0] = "/usr/bin/python3";
    execv(argv[0], argv);
    return 127;
}
