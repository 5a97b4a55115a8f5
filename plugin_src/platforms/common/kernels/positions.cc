/**
 * Positions in the precision of the context.  Only with mixed precision there are corrections; any array may stand for them
 * elsewhere.
 */
DEVICE mixed4 loadPosition(GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection, int place) {
    real4 position = posq[place];
#ifdef USE_MIXED_PRECISION
    real4 correction = posqCorrection[place];
    return make_mixed4(position.x+(mixed) correction.x, position.y+(mixed) correction.y, position.z+(mixed) correction.z, 0);
#else
    return make_mixed4(position.x, position.y, position.z, 0);
#endif
}
