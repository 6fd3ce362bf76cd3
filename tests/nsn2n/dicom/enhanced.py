# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Makes an enhanced multi-frame image of the files of a synthetic single-frame series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    ExplicitVRLittleEndian,
)

CLASSES = {"CT": EnhancedCTImageStorage, "MR": EnhancedMRImageStorage, "PT": EnhancedPETImageStorage}
FRAME_TYPES = {"CT": "CTImageFrameTypeSequence", "MR": "MRImageFrameTypeSequence", "PT": "PETFrameTypeSequence"}
TYPES = {"CT": "VOLUME", "MR": "T1", "PT": "VOLUME"}

KEPT = (
    *("StudyDate", "SeriesDate", "StudyTime", "SeriesTime", "AccessionNumber", "Modality", "ReferringPhysicianName"),
    *("SeriesDescription", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
    *("SeriesInstanceUID", "StudyID", "SeriesNumber", "FrameOfReferenceUID", "PositionReferenceIndicator"),
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "ContentDate", "ContentTime", "PixelPaddingValue", "PatientPosition", "StudyDescription"),
    *("SpecificCharacterSet", "TimezoneOffsetFromUTC", "AcquisitionNumber", "BodyPartExamined"),
)

EditFrame = Callable[[int, Dataset], object]


def item(**attributes) -> Dataset:
    """A sequence item with these attributes."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def enhance(
    files: Sequence[Path],
    target: Path,
    *,
    edit_frame: EditFrame | None = None,
    edit: Callable[[Dataset], object] | None = None,
) -> Path:
    """Write the slices of a series as the frames of one enhanced image, in the order of the files.

    ``edit_frame`` changes the per-frame functional groups of a frame, ``edit`` the whole image before it is saved.
    """
    slices = [pydicom.dcmread(file) for file in files]
    first = slices[0]
    modality = first.Modality
    image = Dataset()
    for keyword in KEPT:
        if keyword in first:
            image[Tag(keyword)] = first[keyword]
    image.SOPClassUID = CLASSES[modality]
    image.SOPInstanceUID = f"{first.SOPInstanceUID[:50]}.99"
    image.InstanceNumber = 1
    image.ImageType = ["ORIGINAL", "PRIMARY", TYPES[modality], "NONE"]
    image.Manufacturer, image.ManufacturerModelName = "NSN2N synthetic phantom", "phantom"
    image.DeviceSerialNumber, image.SoftwareVersions = "7", "1"
    image.AcquisitionDateTime = "20260101120000"
    image.AcquisitionDuration = 60.0
    image.ContentQualification = "RESEARCH"
    image.PixelPresentation = "MONOCHROME"
    image.VolumetricProperties = "VOLUME"
    image.VolumeBasedCalculationTechnique = "NONE"
    image.BurnedInAnnotation = "NO"
    image.LossyImageCompression = "00"
    image.PresentationLUTShape = "IDENTITY"
    image.AcquisitionContextSequence = []
    image.NumberOfFrames = len(slices)
    OF_MODALITY[modality](image, first)
    image.SharedFunctionalGroupsSequence = [_shared(first, modality)]
    image.PerFrameFunctionalGroupsSequence = [_frame(source, index) for index, source in enumerate(slices)]
    dimension = "2.25.4711"
    image.DimensionOrganizationSequence = [item(DimensionOrganizationUID=dimension)]
    image.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=dimension,
            DimensionIndexPointer=Tag("InStackPositionNumber"),
            FunctionalGroupPointer=Tag("FrameContentSequence"),
        )
    ]
    if edit_frame is not None:
        for index, frame in enumerate(image.PerFrameFunctionalGroupsSequence):
            edit_frame(index, frame)
    frame_bytes = (
        image.Rows * image.Columns * image.BitsAllocated // 8
    )  # slices of odd length are padded, frames are not
    data = b"".join(source.PixelData[:frame_bytes] for source in slices)
    image.add_new("PixelData", "OB" if image.BitsAllocated == 8 else "OW", data + b"\0" * (len(data) % 2))
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if edit is not None:
        edit(image)
    target.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(target, enforce_file_format=True)
    return target


def _shared(first: Dataset, modality: str) -> Dataset:
    groups = Dataset()
    groups.PixelMeasuresSequence = [item(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)]
    groups.PlaneOrientationSequence = [item(ImageOrientationPatient=first.ImageOrientationPatient)]
    kind = item(
        FrameType=["ORIGINAL", "PRIMARY", TYPES[modality], "NONE"],
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )
    setattr(groups, FRAME_TYPES[modality], [kind])
    anatomy = item(AnatomicRegionSequence=[code("69536005", "SCT", "Head")], FrameLaterality="U")
    groups.FrameAnatomySequence = [anatomy]
    groups.FrameVOILUTSequence = [item(WindowCenter="40", WindowWidth="400")]
    SHARED_OF_MODALITY[modality](groups, kind)
    return groups


def _frame(source: Dataset, index: int) -> Dataset:
    groups = Dataset()
    groups.FrameContentSequence = [
        item(
            StackID="1",
            InStackPositionNumber=index + 1,
            DimensionIndexValues=[index + 1],
            FrameReferenceDateTime="20260101120000",
            FrameAcquisitionDateTime="20260101120000",
            FrameAcquisitionDuration=50.0,
            FrameAcquisitionNumber=1,
            **({"TemporalPositionIndex": 1} if source.Modality == "PT" else {}),
        )
    ]
    groups.PlanePositionSequence = [item(ImagePositionPatient=source.ImagePositionPatient)]
    groups.PixelValueTransformationSequence = [
        item(
            RescaleIntercept=source.get("RescaleIntercept", "0"),
            RescaleSlope=source.get("RescaleSlope", "1"),
            RescaleType={"CT": "HU", "MR": "US", "PT": "BQML"}[source.Modality],
        )
    ]
    return groups


def _ct(image: Dataset, first: Dataset) -> None:
    """The CT attributes are all in macros."""


def _ct_shared(groups: Dataset, kind: Dataset) -> None:
    groups.CTAcquisitionTypeSequence = [item(AcquisitionType="SPIRAL", ConstantVolumeFlag="NO", FluoroscopyFlag="NO")]
    groups.CTAcquisitionDetailsSequence = [
        item(
            RotationDirection="CW",
            RevolutionTime=0.5,
            SingleCollimationWidth=0.6,
            TotalCollimationWidth=19.2,
            TableHeight=100.0,
            GantryDetectorTilt=0.0,
            DataCollectionDiameter=500.0,
        )
    ]
    groups.IrradiationEventIdentificationSequence = [item(IrradiationEventUID="2.25.4712")]
    groups.CTTableDynamicsSequence = [item(TableSpeed=20.0, TableFeedPerRotation=10.0, SpiralPitchFactor=0.5)]
    groups.CTGeometrySequence = [item(DistanceSourceToDetector=1000.0, DistanceSourceToDataCollectionCenter=500.0)]
    groups.CTPositionSequence = [
        item(
            TablePosition=0.0,
            ReconstructionTargetCenterPatient=[0.0, 0.0, 0.0],
            DataCollectionCenterPatient=[0.0, 0.0, 0.0],
        )
    ]
    groups.CTReconstructionSequence = [
        item(
            ReconstructionAlgorithm="FILTER_BACK_PROJ",
            ConvolutionKernel="B",
            ConvolutionKernelGroup="BRAIN",
            ReconstructionDiameter=250.0,
            ReconstructionPixelSpacing=[1.0, 1.0],
            ReconstructionAngle=360.0,
            ImageFilter="none",
        )
    ]
    groups.CTExposureSequence = [
        item(ExposureTimeInms=500.0, XRayTubeCurrentInmA=200.0, ExposureInmAs=100.0, CTDIvol=10.0,
             ExposureModulationType="NONE")
    ]  # fmt: skip
    groups.CTXRayDetailsSequence = [item(KVP="120", FocalSpots=[1.0], FilterType="FLAT", FilterMaterial="ALUMINUM")]


def _mr(image: Dataset, first: Dataset) -> None:
    image.ComplexImageComponent = "MAGNITUDE"
    image.AcquisitionContrast = "T1"
    image.ResonantNucleus = "1H"
    image.KSpaceFiltering = "NONE"
    image.MagneticFieldStrength = 3.0
    image.ApplicableSafetyStandardAgency = "IEC"
    image.ApplicableSafetyStandardDescription = "IEC 60601-2-33"
    image.PulseSequenceName = "T1 3D"
    image.MRAcquisitionType = "3D"
    image.EchoPulseSequence = "GRADIENT"
    image.MultiPlanarExcitation = "NO"
    image.PhaseContrast = "NO"
    image.TimeOfFlightContrast = "NO"
    image.SteadyStatePulseSequence = "NONE"
    image.EchoPlanarPulseSequence = "NO"
    image.SaturationRecovery = "NO"
    image.SpectrallySelectedSuppression = "NONE"
    image.OversamplingPhase = "NONE"
    image.GeometryOfKSpaceTraversal = "RECTILINEAR"
    image.RectilinearPhaseEncodeReordering = "LINEAR"
    image.SegmentedKSpaceTraversal = "SINGLE"
    image.CoverageOfKSpace = "FULL"
    image.NumberOfKSpaceTrajectories = 1


def _mr_shared(groups: Dataset, kind: Dataset) -> None:
    kind.ComplexImageComponent = "MAGNITUDE"
    kind.AcquisitionContrast = "T1"
    groups.MREchoSequence = [item(EffectiveEchoTime=3.0)]
    groups.MRImagingModifierSequence = [
        item(
            MagnetizationTransfer="NONE",
            BloodSignalNulling="NO",
            Tagging="NONE",
            TransmitterFrequency=123.0,
            PixelBandwidth=200.0,
        )
    ]
    groups.MRTimingAndRelatedParametersSequence = [
        item(
            RepetitionTime="8",
            FlipAngle="10",
            EchoTrainLength=1,
            RFEchoTrainLength=0,
            GradientEchoTrainLength=1,
            SpecificAbsorptionRateSequence=[
                item(SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=0.1)
            ],
            GradientOutputType="PER_NERVE_STIM",
            GradientOutput=1.0,
            OperatingModeSequence=[
                item(OperatingModeType="STATIC FIELD", OperatingMode="IEC_NORMAL"),
                item(OperatingModeType="RF", OperatingMode="IEC_NORMAL"),
                item(OperatingModeType="GRADIENT", OperatingMode="IEC_NORMAL"),
            ],
        )
    ]
    groups.MRFOVGeometrySequence = [
        item(
            InPlanePhaseEncodingDirection="ROW",
            MRAcquisitionFrequencyEncodingSteps=8,
            MRAcquisitionPhaseEncodingStepsInPlane=6,
            MRAcquisitionPhaseEncodingStepsOutOfPlane=5,
            PercentSampling="100",
            PercentPhaseFieldOfView="100",
        )
    ]
    groups.MRModifierSequence = [
        item(
            InversionRecovery="NO",
            FlowCompensation="NONE",
            Spoiling="NONE",
            T2Preparation="NO",
            SpectrallySelectedExcitation="NONE",
            SpatialPresaturation="NONE",
            PartialFourier="NO",
            ParallelAcquisition="NO",
        )
    ]
    groups.MRReceiveCoilSequence = [
        item(
            ReceiveCoilName="HEAD",
            ReceiveCoilManufacturerName="none",
            ReceiveCoilType="HEAD",
            QuadratureReceiveCoil="NO",
        )
    ]
    groups.MRTransmitCoilSequence = [
        item(TransmitCoilName="BODY", TransmitCoilManufacturerName="none", TransmitCoilType="BODY")
    ]
    groups.MRAveragesSequence = [item(NumberOfAverages="1")]


def _pet(image: Dataset, first: Dataset) -> None:
    image.Units = "BQML"
    image.CountsSource = "EMISSION"
    image.DecayCorrected = "YES"
    image.DecayCorrectionDateTime = "20260101110000"
    image.AttenuationCorrected = image.ScatterCorrected = image.DeadTimeCorrected = "YES"
    image.GantryMotionCorrected = image.PatientMotionCorrected = "NO"
    image.CountLossNormalizationCorrected = image.RandomsCorrected = image.NonUniformRadialSamplingCorrected = "YES"
    image.SensitivityCalibrated = image.DetectorNormalizationCorrection = "YES"
    image.RandomsCorrectionMethod = "DLYD"
    image.AttenuationCorrectionSource = "CT"
    image.ScatterCorrectionMethod = "none"
    image.AttenuationCorrectionTemporalRelationship = "SIMULTANEOUS"
    image.AcquisitionStartCondition, image.AcquisitionTerminationCondition = "MANU", "TIME"
    image.TypeOfDetectorMotion, image.TableMotion = "STATIONARY", "STATIC"
    image.DetectorGeometry, image.TerminationTimeThreshold = "CYLINDRICAL_RING", 60.0
    image.TransverseDetectorSeparation = image.AxialDetectorDimension = image.CoincidenceWindowWidth = 4.0
    image.EnergyWindowRangeSequence = [item(EnergyWindowLowerLimit="425", EnergyWindowUpperLimit="650")]
    image.TimeOfFlightInformationUsed = "FALSE"
    image.ViewCodeSequence = [code("24422004", "SCT", "Axial")]
    image.SliceProgressionDirection = "ASCENDING"
    image.CollimatorType = "NONE"
    image.PatientOrientationCodeSequence = [code("102538003", "SCT", "recumbent")]
    image.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = [code("40199007", "SCT", "supine")]
    image.PatientGantryRelationshipCodeSequence = [code("102540008", "SCT", "headfirst")]
    isotope = item(
        RadionuclideCodeSequence=[code("C-111A1", "SRT", "^18^Fluorine")],
        RadiopharmaceuticalCodeSequence=[code("C-B1031", "SRT", "Fluorodeoxyglucose F^18^")],
        AdministrationRouteCodeSequence=[code("47625008", "SCT", "Intravenous route")],
        RadiopharmaceuticalAgentNumber=1,
        RadiopharmaceuticalStartDateTime="20260101110000",
        RadiopharmaceuticalStopDateTime="20260101110100",
        RadionuclideTotalDose="370000000",
        RadionuclideHalfLife="6586.2",
        RadionuclidePositronFraction="0.97",
        RadiopharmaceuticalVolume="1",
    )
    image.RadiopharmaceuticalInformationSequence = [isotope]


def _pet_shared(groups: Dataset, kind: Dataset) -> None:
    groups.PETFrameAcquisitionSequence = [
        item(TableHeight=100.0, GantryDetectorTilt=0.0, GantryDetectorSlew=0.0, DataCollectionDiameter=500.0)
    ]
    groups.PETFrameCorrectionFactorsSequence = [
        item(PrimaryPromptsCountsAccumulated=1000, SliceSensitivityFactor="1", DecayFactor="1",
             ScatterFractionFactor="0", DeadTimeFactor="1")
    ]  # fmt: skip
    groups.PETReconstructionSequence = [
        item(
            ReconstructionType="3D",
            ReconstructionAlgorithm="MLEM",
            IterativeReconstructionMethod="YES",
            NumberOfIterations=3,
            NumberOfSubsets=8,
            ReconstructionDiameter=250.0,
        )
    ]
    groups.PETDetectorMotionDetailsSequence = [item(RotationDirection="CW", RevolutionTime=1.0)]
    groups.PETPositionSequence = [
        item(
            TablePosition=0.0,
            ReconstructionTargetCenterPatient=[0.0, 0.0, 0.0],
            DataCollectionCenterPatient=[0.0, 0.0, 0.0],
        )
    ]
    groups.RadiopharmaceuticalUsageSequence = [item(RadiopharmaceuticalAgentNumber=1)]


OF_MODALITY = {"CT": _ct, "MR": _mr, "PT": _pet}
SHARED_OF_MODALITY = {"CT": _ct_shared, "MR": _mr_shared, "PT": _pet_shared}
