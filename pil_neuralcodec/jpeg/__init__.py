"""What was a JPEG file: its quantised coefficients, found again from the pixels, and coded in their place.

``transform``     libjpeg's decoding of coefficients, in exact integers: this defines the pixels
``layout``        sampling factors and sizes; where blocks lie
``colour``        the samples that a colour can have come from
``bounds``        what is known of samples: the lowest, the highest and the likeliest that they can be
``grid``          whether there are blocks, and on which grid
``quantisation``  the steps, from combs in the histograms of coefficients
``steps``         those of them that give whole blocks
``search``        the coefficients of a block whose samples are known, limited samples included
``partial``       those of a block of which a part is seen
``chroma``        the samples under libjpeg's triangle filter
``solver``        the coefficients of all components, for a layout
``polish``        coefficients moved by one where pixels are wrong
``recover``       all of this: from pixels to coefficients
``contexts``      what is known of a coefficient before it is coded
``coefficients``  entropy coding of coefficients
``exceptions``    what the coefficients do not say of the pixels
"""
