"""What was a JPEG file: its quantised coefficients, found again from the pixels, and coded in their place.

``transform``     libjpeg's decoding of coefficients, in exact integers: this defines the pixels
``layout``        sampling factors and sizes; where blocks lie
``colour``        the samples that a colour can have come from
``grid``          whether, and on which grid
``quantisation``  the steps, from combs in the histograms of coefficients
``search``        the coefficients of a block whose samples are known, clipped samples included
``chroma``        the samples under libjpeg's triangle filter
``recover``       all of this: from pixels to coefficients
``contexts``      what is known of a coefficient before it is coded
``coefficients``  entropy coding of coefficients
``exceptions``    what the coefficients do not say of the pixels
"""
