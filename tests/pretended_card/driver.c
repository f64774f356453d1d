/* An NVIDIA driver that is only pretended, so that FFmpeg's own NVDEC code runs without a card.
 *
 * The card's memory is main memory. A picture is not decoded but looked up: by the bytes that
 * FFmpeg sends for it in a file of pictures; what is not in there comes out grey, and no error is
 * told, as NVDEC tells of none. Built twice, as libcuda.so.1 (with -DCUDA) and libnvcuvid.so.1.
 *
 * From the environment, looked at anew with each call:
 *   PRETENDED_PICTURES  the file: 8 bytes of hash, then the rows of the surface, picture by picture
 *   PRETENDED_LOG       gets a line for each call that a test may ask about
 *   PRETENDED_MEMORY    so many pieces of the card's memory may be held at once
 *   PRETENDED_USERS     so many may use a card at once
 *   PRETENDED_DECODERS  so many decoders may be opened at once
 *   PRETENDED_PICTURES_LEFT  so many pictures does each decoder take before it fails
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "say.h"

typedef int Result;
typedef uint64_t Address;
enum { FINE = 0, INVALID = 1, NO_MEMORY = 2, NO_DEVICE = 101, NO_CONTEXT = 201, FAILED = 999 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int is_beyond(const char *name, long count)
{
    const char *value = getenv(name);
    return value && count > atol(value);
}

/* Count one more of something, unless a variable says that this is too many. */
static int counted(long *count, const char *most)
{
    pthread_mutex_lock(&lock);
    int fits = !is_beyond(most, *count + 1);
    *count += fits;
    pthread_mutex_unlock(&lock);
    if (!fits)
        say(most, *count);
    return fits;
}

static void discounted(long *count)
{
    pthread_mutex_lock(&lock);
    --*count;
    pthread_mutex_unlock(&lock);
}

#define UNUSED(name)               \
    Result name(void)              \
    {                              \
        say("unexpected " #name, 0); \
        return FAILED;             \
    }

#ifdef CUDA

enum { TEXTURE_ALIGNMENT = 14, HOST = 1, DEPTH = 64, CARDS = 2 };

typedef struct {
    unsigned flags;
    long users;
} Context;

static Context primary[CARDS];
static long pieces;
static __thread void *stack[DEPTH];
static __thread int depth;

Result cuInit(unsigned flags) { return flags ? INVALID : FINE; }

Result cuDeviceGetCount(int *count)
{
    *count = CARDS;
    return FINE;
}

Result cuDeviceGet(int *device, int number)
{
    *device = number;
    return number < CARDS ? FINE : NO_DEVICE;
}

Result cuDeviceGetAttribute(int *value, int which, int device)
{
    *value = which == TEXTURE_ALIGNMENT ? 512 : 1;
    return device < CARDS ? FINE : NO_DEVICE;
}

Result cuGetErrorName(int error, const char **name)
{
    *name = error == NO_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_PRETENDED";
    return FINE;
}

Result cuGetErrorString(int error, const char **text)
{
    *text = error == NO_MEMORY ? "out of memory" : "pretended";
    return FINE;
}

Result cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active)
{
    *flags = primary[device].flags;
    *active = primary[device].users > 0;
    return FINE;
}

Result cuDevicePrimaryCtxSetFlags(int device, unsigned flags)
{
    primary[device].flags = flags;
    return FINE;
}

Result cuDevicePrimaryCtxRetain(void **context, int device)
{
    counted(&primary[device].users, "PRETENDED_USERS");
    *context = &primary[device];
    return FINE;
}

Result cuDevicePrimaryCtxRelease(int device)
{
    discounted(&primary[device].users);
    return FINE;
}

Result cuCtxPushCurrent_v2(void *context)
{
    if (depth == DEPTH || !context)
        return NO_CONTEXT;
    stack[depth++] = context;
    return FINE;
}

Result cuCtxPopCurrent_v2(void **context)
{
    if (!depth)
        return NO_CONTEXT;
    *context = stack[--depth];
    return FINE;
}

Result cuCtxGetCurrent(void **context)
{
    *context = depth ? stack[depth - 1] : NULL;
    return FINE;
}

Result cuMemAlloc_v2(Address *at, size_t bytes)
{
    if (!depth)
        return NO_CONTEXT;
    if (!counted(&pieces, "PRETENDED_MEMORY"))
        return NO_MEMORY;
    *at = (Address)malloc(bytes);
    return FINE;
}

Result cuMemFree_v2(Address at)
{
    if (!depth)
        return NO_CONTEXT;
    discounted(&pieces);
    free((void *)at);
    return FINE;
}

typedef struct {
    size_t x, y;
    int kind;
    void *host;
    Address device;
    void *array;
    size_t pitch;
} Side;

typedef struct {
    Side from, to;
    size_t width, height;
} Copy;

static char *row(const Side *side, size_t y)
{
    char *begin = side->kind == HOST ? side->host : (char *)side->device;
    return begin + (side->y + y) * side->pitch + side->x;
}

Result cuMemcpy2DAsync_v2(const Copy *copy, void *stream)
{
    if (!depth || stream)
        return NO_CONTEXT;
    for (size_t y = 0; y < copy->height; y++)
        memcpy(row(&copy->to, y), row(&copy->from, y), copy->width);
    return FINE;
}

Result cuStreamSynchronize(void *stream) { return stream ? INVALID : FINE; }

/* For the tests: what the card still holds. */
long pretended_pieces(void) { return pieces; }

#else

enum { HEVC = 8, AV1 = 11, YUV420 = 1, OUTPUTS = 64 };

typedef struct {
    unsigned long width, height, surfaces;
    int codec, chroma;
    unsigned long flags, more_bits, intra_only, most_width, most_height, reserved;
    short area[4];
    int format, deinterlace;
    unsigned long target_width, target_height, outputs;
    void *lock;
    short target[4];
    unsigned long later[5];
} Wish;

typedef struct {
    int codec, chroma;
    unsigned more_bits, reserved[3];
    uint8_t is_supported, engines;
    uint16_t formats;
    unsigned most_width, most_height, most_blocks;
    uint16_t least_width, least_height;
} Caps;

typedef struct {
    int width, height, surface, is_field, is_bottom, is_second;
    unsigned length;
    const uint8_t *bytes;
} Sent;

typedef struct {
    Wish wish;
    size_t pitch, line, lines, size;
    uint8_t *surfaces, *outputs;
    uint8_t is_mapped[OUTPUTS];
    long taken;
} Decoder;

static long decoders;

Result cuvidGetDecoderCaps(Caps *caps)
{
    int deep = caps->more_bits && caps->codec != HEVC;
    caps->is_supported = caps->codec != AV1 && caps->chroma == YUV420 && !deep;
    caps->most_width = caps->most_height = 4096;
    caps->most_blocks = 65536;
    caps->least_width = caps->least_height = 48;
    return FINE;
}

Result cuvidCreateDecoder(void **made, const Wish *wish)
{
    if (wish->outputs > OUTPUTS)
        return INVALID;
    if (!counted(&decoders, "PRETENDED_DECODERS"))
        return NO_MEMORY;
    Decoder *decoder = calloc(1, sizeof *decoder);
    decoder->wish = *wish;
    decoder->line = wish->width * (wish->more_bits ? 2 : 1);
    decoder->pitch = (decoder->line + 255) / 256 * 256;
    decoder->lines = wish->height * 3 / 2;
    decoder->size = decoder->pitch * decoder->lines;
    decoder->surfaces = calloc(wish->surfaces, decoder->size);
    decoder->outputs = calloc(wish->outputs, decoder->size);
    *made = decoder;
    say("decoder", (long)wish->surfaces);
    return FINE;
}

Result cuvidDestroyDecoder(Decoder *decoder)
{
    for (size_t i = 0; i < decoder->wish.outputs; i++)
        if (decoder->is_mapped[i])
            say("wrong: destroyed while a frame was mapped", (long)i);
    free(decoder->surfaces);
    free(decoder->outputs);
    free(decoder);
    discounted(&decoders);
    return FINE;
}

/* FNV-1a, which the tests use as well. */
uint64_t pretended_hash(const uint8_t *bytes, size_t length)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

static int look_up(uint64_t hash, const Decoder *decoder, uint8_t *surface)
{
    const char *name = getenv("PRETENDED_PICTURES");
    FILE *file = name ? fopen(name, "rb") : NULL;
    uint64_t key[2]; /* the hash, and how many bytes follow */
    int found = 0;
    while (file && !found && fread(key, sizeof key, 1, file) == 1) {
        found = key[0] == hash && key[1] == decoder->line * decoder->lines;
        if (!found)
            fseek(file, (long)key[1], SEEK_CUR);
        for (size_t y = 0; found && y < decoder->lines; y++)
            found = fread(surface + y * decoder->pitch, decoder->line, 1, file) == 1;
    }
    if (file)
        fclose(file);
    return found;
}

Result cuvidDecodePicture(Decoder *decoder, const Sent *sent)
{
    if (sent->surface < 0 || (unsigned long)sent->surface >= decoder->wish.surfaces)
        return INVALID;
    if (is_beyond("PRETENDED_PICTURES_LEFT", ++decoder->taken))
        return FAILED;
    uint8_t *surface = decoder->surfaces + decoder->size * (size_t)sent->surface;
    if (!look_up(pretended_hash(sent->bytes, sent->length), decoder, surface)) {
        memset(surface, 128, decoder->size);
        say("unknown picture", sent->surface);
    }
    say("picture", sent->surface);
    return FINE;
}

Result cuvidMapVideoFrame64(Decoder *decoder, int surface, Address *at, unsigned *pitch, void *how)
{
    for (size_t i = 0; how && i < decoder->wish.outputs; i++) {
        if (decoder->is_mapped[i])
            continue;
        decoder->is_mapped[i] = 1;
        uint8_t *output = decoder->outputs + decoder->size * i;
        memcpy(output, decoder->surfaces + decoder->size * (size_t)surface, decoder->size);
        *at = (Address)output;
        *pitch = (unsigned)decoder->pitch;
        return FINE;
    }
    say("wrong: no output is left", surface);
    return NO_MEMORY;
}

Result cuvidUnmapVideoFrame64(Decoder *decoder, Address at)
{
    size_t i = (size_t)((uint8_t *)at - decoder->outputs) / decoder->size;
    if (i >= decoder->wish.outputs || !decoder->is_mapped[i])
        return INVALID;
    /* A frame that is used after it was given back shows it. */
    memset((uint8_t *)at, 77, decoder->size);
    decoder->is_mapped[i] = 0;
    return FINE;
}

#endif

/* What FFmpeg wants to be there and does not call: written by the tests that build this. */
#include "unused.h"
