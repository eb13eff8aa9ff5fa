/* A TFLite delegate for tests, by the stable interface of external delegates. It takes no part of the network; by its
   options it does what bad ones do. Built by tests/integration/test_delegates.py. */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As in TFLite's common.h, which no package ships; unchanged since 2.3 but for the last field. */
typedef struct TfLiteDelegate {
  void* data;
  int (*Prepare)(void* context, struct TfLiteDelegate*);
  void *copy_from, *copy_to, *free_handle;
  int64_t flags;
  void* opaque_builder;
} TfLiteDelegate;

static int prepare(void* context, TfLiteDelegate* delegate) { return 0; }
static int refuse_network(void* context, TfLiteDelegate* delegate) { return 1; }

TfLiteDelegate* tflite_plugin_create_delegate(const char* const* keys, const char* const* values, size_t count,
                                              void (*report_error)(const char*)) {
  TfLiteDelegate* delegate = calloc(1, sizeof *delegate);
  delegate->Prepare = prepare;
  puts("this library prints on stdout"); /* vendors' do */
  for (size_t i = 0; i < count; i++) {
    if (!strcmp(keys[i], "note")) {
      FILE* file = fopen(values[i], "a");
      fputs("loaded\n", file);
      fclose(file);
    } else if (!strcmp(keys[i], "refuse")) {
      report_error(values[i]);
      return NULL;
    } else if (!strcmp(keys[i], "refuse_network")) {
      delegate->Prepare = refuse_network;
    } else if (!strcmp(keys[i], "crash")) {
      raise(SIGSEGV);
    } else if (!strcmp(keys[i], "hang")) {
      sleep(600);
    }
  }
  return delegate;
}

void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) { free(delegate); }
