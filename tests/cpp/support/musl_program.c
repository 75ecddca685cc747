/* A program for musl, whose libc has no unwind tables, and no symbols for most of its functions. Its
 * threads wait in system calls; it writes a byte to the descriptor in its argument when they do. */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#define AFTER_CALL __asm__ volatile("" ::: "memory")

static int never[2];
static sem_t started;

__attribute__((noinline)) int waits_in_read(int ready) {
    char byte = 0;
    if (ready >= 0 && write(ready, &byte, 1) != 1) return 2;
    const ssize_t size = read(never[0], &byte, 1);
    AFTER_CALL;
    return (int)size;
}

__attribute__((noinline)) int compares(const void* one, const void* other) {
    sem_post(&started);
    const int result = waits_in_read(-1);
    AFTER_CALL;
    return result + (one == other);
}

__attribute__((noinline)) void* sorts(void* unused) {
    int values[] = {3, 2, 1};
    qsort(values, 3, sizeof values[0], compares);
    AFTER_CALL;
    return unused;
}

int main(int count, char** arguments) {
    pthread_t thread;
    if (count != 2 || pipe(never) != 0 || sem_init(&started, 0, 0) != 0) return 1;
    if (pthread_create(&thread, NULL, sorts, NULL) != 0) return 1;
    while (sem_wait(&started) != 0) {
    }
    const int result = waits_in_read(atoi(arguments[1]));
    AFTER_CALL;
    return result;
}
