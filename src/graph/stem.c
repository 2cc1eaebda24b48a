/* SPDX-License-Identifier: Apache-2.0
 *
 * A stem of convolutions before the patch embedding (Xiao et al. 2021; LV-ViT, Jiang et al. 2021):
 *
 *     map = relu(conv(map)), a few times; then the patches of the last map are embedded
 *
 * with batch norms folded into the weights by the converter. A convolution is the product of its
 * windows with its weights. ReLU costs nothing: maps are u8 with 0 for zero, so that it is the
 * lower end of the output's range, and padding with zero is exact.
 */
#include "graph/session.h"
#include "image/image.h"

/* What convolution i reads and in which windows. */
static iviti_window_grid windows_of(const iviti_geometry *g, uint32_t i)
{
    const iviti_convolution *c = &g->convolution[i];
    return (iviti_window_grid){
        .width = i ? (c - 1)->width : g->image_width,
        .height = i ? (c - 1)->height : g->image_height,
        .channels = iviti_convolution_channels(g, i),
        .kernel = c->kernel,
        .stride = c->stride,
        .padding = c->padding,
        .columns = c->width,
        .rows = c->height,
    };
}

static size_t picture_bytes(const iviti_window_grid *w)
{
    return (size_t)w->width * w->height * w->channels;
}

/* This thread's share of convolution i, a few windows at a time. */
static void convolve(iviti_session *s, uint32_t i, unsigned thread)
{
    const iviti_geometry *g = &s->model->geometry;
    const iviti_buffers *b = &s->buffers;
    const iviti_window_grid w = windows_of(g, i);
    const iviti_dense *weights = &s->model->stem[i];
    const size_t positions = (size_t)w.columns * w.rows, channels = g->convolution[i].channels;
    const size_t stride = iviti_row_stride(weights->in);
    const uint8_t pixel[3] = { (uint8_t)g->pixel_padding[0], (uint8_t)g->pixel_padding[1],
                               (uint8_t)g->pixel_padding[2] };
    const uint8_t *in = i ? b->map[(i - 1) % 2] : b->pixels;
    uint8_t *windows = b->windows + thread * (IVITI_STEM_ROWS * b->window_stride);
    const iviti_rows rows = iviti_share(s, s->pictures * positions, positions, IVITI_PANEL, thread);
    size_t count = 0;

    for (size_t row = rows.first; row < rows.first + rows.count; row += count) {
        const size_t picture = row / positions, first = row % positions;
        const size_t left = rows.first + rows.count - row;
        count = positions - first < left ? positions - first : left;
        count = count < IVITI_STEM_ROWS ? count : IVITI_STEM_ROWS;
        iviti_extract_windows(&w, in + picture * picture_bytes(&w), i ? NULL : pixel, first, count,
                              windows, stride);
        s->kernels.dense_s8(weights, windows, stride, count, b->map[i % 2] + row * channels,
                            channels);
    }
}

void iviti_stem_forward(iviti_session *s, unsigned thread)
{
    for (uint32_t i = 0; i < s->model->geometry.convolutions; i++) {
        convolve(s, i, thread);
        iviti_pool_barrier(&s->pool); /* windows reach into the shares of others */
    }
}

void iviti_stem_patches(const iviti_session *s, size_t picture, iviti_rows rows, uint8_t *patches)
{
    const iviti_geometry *g = &s->model->geometry;
    const iviti_buffers *b = &s->buffers;
    const uint32_t last = g->convolutions - 1;
    const iviti_window_grid w = {
        .width = g->convolution[last].width,
        .height = g->convolution[last].height,
        .channels = g->convolution[last].channels,
        .kernel = g->embed_side,
        .stride = g->embed_side,
        .columns = g->stage[0].grid_width,
        .rows = g->stage[0].grid_height,
    };
    iviti_extract_windows(&w, b->map[last % 2] + picture * picture_bytes(&w), NULL, rows.first,
                          rows.count, patches, b->patch_stride);
}
