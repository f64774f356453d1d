/* One plane of 8-bit samples, sampled bilinearly on an upright grid of its own.
 *
 * Rows are blended first, a few at a time, into a small buffer of 128ths; then its columns are, and
 * rounded. Four samples of a row are made at once: their neighbours are shuffled out of eight
 * values. Where there is no compiler, or no AVX2, OpenCV samples (sampling.py).
 */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define INTERFACE 1
/* Samples that are made at once, of rows and of columns: so many quads. */
#define GROUP 16
#define QUADS 4
/* Rows in the buffer: more than one, so that none is read while its stores are under way. */
#define ROWS 16
/* Values after a row: what a quad reads beyond the last one that it needs. */
#define PADDING 16
/* With a wider step the last of four samples might need a value beyond the eighth. */
#define WIDEST_STEP 1.85
/* What the weights of two neighbours add up to. */
#define ROW_ONE 32768
#define COLUMN_ONE 16384
/* Of a sum over columns: 128ths, times COLUMN_ONE. */
#define SHIFT 21
#define AVX2 __attribute__((target("avx2")))

/* How four samples of a row are made: from which value on, of which pairs, weighed how. */
typedef struct {
    int32_t first;
    uint8_t pairs[16]; /* bytes from `first` on */
    int16_t weights[8];
} Quad;

typedef struct {
    int whole;
    double part;
} Place;

/* A place on an axis of `length` samples; what lies outside repeats the border. */
static Place place_of(double at, int length)
{
    if (!(at > 0))
        at = 0;
    if (at > length - 1)
        at = length - 1;
    const int whole = (int)at;
    return (Place){whole, at - whole};
}

/* As `_mm256_mulhrs_epi16` does it. */
static void
blend_short_row(const uint8_t *above, const uint8_t *below, int part, int16_t *row, int count)
{
    for (int i = 0; i < count; i++)
        row[i] = (int16_t)(above[i] * 128 + (((below[i] - above[i]) * 128 * part + 16384) >> 15));
}

AVX2 static void
blend_row(const uint8_t *above, const uint8_t *below, double part, int16_t *row, int count)
{
    int weight = (int)(part * ROW_ONE + 0.5);
    if (weight == ROW_ONE)
        weight--; /* it has to fit into 16 bits with its sign */
    if (count < GROUP) {
        blend_short_row(above, below, weight, row, count);
        return;
    }
    const __m256i weights = _mm256_set1_epi16((short)weight);
    for (int begin = 0; begin < count; begin += GROUP) {
        /* The last stretch overlaps the one before it. */
        const int i = begin + GROUP <= count ? begin : count - GROUP;
        __m256i a = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(above + i)));
        __m256i b = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(below + i)));
        __m256i change = _mm256_slli_epi16(_mm256_sub_epi16(b, a), 7);
        a = _mm256_add_epi16(_mm256_slli_epi16(a, 7), _mm256_mulhrs_epi16(change, weights));
        _mm256_storeu_si256((__m256i *)(row + i), a);
    }
}

/* Less than a group. */
static void blend_short_columns(const int16_t *row, const Quad *quads, uint8_t *target, int width)
{
    for (int k = 0; k < width; k++) {
        const Quad *quad = &quads[k / 4];
        const int pair = 2 * (k % 4);
        const int16_t *from = row + quad->first + quad->pairs[2 * pair] / 2;
        const int sum = from[0] * quad->weights[pair] + from[1] * quad->weights[pair + 1];
        target[k] = (uint8_t)((sum + (1 << (SHIFT - 1))) >> SHIFT);
    }
}

AVX2 static __m256i two_quads(const int16_t *row, const Quad *one, const Quad *other)
{
    __m256i values = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(row + one->first))),
        _mm_loadu_si128((const __m128i *)(row + other->first)), 1);
    __m256i pairs = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)one->pairs)),
        _mm_loadu_si128((const __m128i *)other->pairs), 1);
    __m256i weights = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)one->weights)),
        _mm_loadu_si128((const __m128i *)other->weights), 1);
    __m256i sums = _mm256_madd_epi16(_mm256_shuffle_epi8(values, pairs), weights);
    sums = _mm256_add_epi32(sums, _mm256_set1_epi32(1 << (SHIFT - 1)));
    return _mm256_srai_epi32(sums, SHIFT);
}

AVX2 static void
blend_columns(const int16_t *row, const Quad *quads, uint8_t *target, int width)
{
    if (width < GROUP) {
        blend_short_columns(row, quads, target, width);
        return;
    }
    for (int begin = 0; begin < width; begin += GROUP, quads += QUADS) {
        const int i = begin + GROUP <= width ? begin : width - GROUP;
        /* Packing takes the halves of both in turn. */
        __m256i even = two_quads(row, &quads[0], &quads[2]);
        __m256i odd = two_quads(row, &quads[1], &quads[3]);
        __m256i samples = _mm256_packs_epi32(even, odd);
        _mm_storeu_si128(
            (__m128i *)(target + i),
            _mm_packus_epi16(
                _mm256_castsi256_si128(samples), _mm256_extracti128_si256(samples, 1)));
    }
}

static void fill_quads(Quad *quads, double x, double across, int width, int source_width)
{
    const int origin = place_of(x, source_width).whole;
    for (int begin = 0; begin < width; begin += GROUP) {
        /* The last group overlaps the one before it. */
        const int at = begin + GROUP <= width || width < GROUP ? begin : width - GROUP;
        for (int quad = 0; quad < QUADS; quad++, quads++) {
            const double start = x + (at + 4 * quad) * across;
            const int first = place_of(start, source_width).whole;
            quads->first = first - origin;
            for (int k = 0; k < 4; k++) {
                const Place place = place_of(start + k * across, source_width);
                const int16_t weight = (int16_t)(place.part * COLUMN_ONE + 0.5);
                const uint8_t byte = (uint8_t)(2 * (place.whole - first));
                for (uint8_t i = 0; i < 4; i++)
                    quads->pairs[4 * k + i] = (uint8_t)(byte + i);
                quads->weights[2 * k] = (int16_t)(COLUMN_ONE - weight);
                quads->weights[2 * k + 1] = weight;
            }
        }
    }
}

/* What a caller has to know of, or 0 where the processor cannot run this. */
int trackverse_bilinear_interface(void)
{
    return __builtin_cpu_supports("avx2") ? INTERFACE : 0;
}

/* Fill the sample (i, j) of a plane from the place (x + i * across, y + j * down) of another.
 *
 * Strides are bytes from row to row, sizes are samples. Returns 0; 1 where a step is not one that
 * this can take, -1 without memory, with nothing written in both cases.
 */
int trackverse_bilinear(
    const uint8_t *source, ptrdiff_t source_stride, int source_width, int source_height,
    uint8_t *target, ptrdiff_t target_stride, int width, int height,
    double x, double across, double y, double down)
{
    if (!(across > 0 && across <= WIDEST_STEP && down > 0))
        return 1;
    if (source_width < 1 || source_height < 1 || width < 1 || height < 1)
        return 1;
    const int left = place_of(x, source_width).whole;
    const int right = place_of(x + (width - 1) * across, source_width).whole;
    /* The neighbour of a plane's last column has no weight, and is the padding's. */
    const int count = right + 2 <= source_width ? right + 2 - left : source_width - left;
    const size_t quad_count = ((size_t)width + GROUP - 1) / GROUP * QUADS;
    const size_t pitch = (size_t)count + PADDING;
    Quad *quads = malloc(quad_count * sizeof(Quad) + ROWS * pitch * sizeof(int16_t));
    if (!quads)
        return -1;
    int16_t *rows = (int16_t *)(quads + quad_count);
    fill_quads(quads, x, across, width, source_width);
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < PADDING; i++)
            rows[row * pitch + count + i] = 0;
    for (int begin = 0; begin < height; begin += ROWS) {
        const int end = begin + ROWS < height ? begin + ROWS : height;
        for (int j = begin; j < end; j++) {
            const Place place = place_of(y + j * down, source_height);
            const uint8_t *above = source + place.whole * source_stride + left;
            const uint8_t *below = place.whole + 1 < source_height ? above + source_stride : above;
            blend_row(above, below, place.part, rows + (j - begin) * pitch, count);
        }
        for (int j = begin; j < end; j++)
            blend_columns(
                rows + (j - begin) * pitch, quads, target + j * target_stride, width);
    }
    free(quads);
    return 0;
}
